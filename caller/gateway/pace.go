package gateway

import (
	"io"
	"net/http"
	"time"
)

// pacedBody is a request's body whose sender must keep a rate. Only time in which the sender is waited for counts.
type pacedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	grace time.Duration // for the sender in addition to the rate
	rate  int64         // bytes per second

	n     int64
	spent time.Duration
}

// paced returns the request's body with the least rate of the configuration.
func (g *Gateway) paced(w http.ResponseWriter, r *http.Request) io.ReadCloser {
	return &pacedBody{ReadCloser: r.Body, conn: http.NewResponseController(w), grace: g.cfg.ClientIdle, rate: g.cfg.MinRate}
}

// Read reads from the body, at most until the sender's time is up. The read deadline is taken away again: what follows a
// body on the connection has no bound.
func (b *pacedBody) Read(p []byte) (int, error) {
	begun := time.Now()
	left := b.grace + time.Duration(float64(b.n)/float64(b.rate)*float64(time.Second)) - b.spent
	limited := b.conn.SetReadDeadline(begun.Add(max(left, time.Millisecond))) == nil
	n, err := b.ReadCloser.Read(p)
	if limited {
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	b.n += int64(n)
	b.spent += time.Since(begun)
	return n, err
}

// pacedWriter is a ResponseWriter that ends the connection of a client that takes no byte for too long.
type pacedWriter struct {
	http.ResponseWriter
	conn   *http.ResponseController
	idle   time.Duration
	until  time.Time // the write deadline
	status int       // of the answer; 0: it has none yet
}

func (g *Gateway) newPacedWriter(w http.ResponseWriter) *pacedWriter {
	return &pacedWriter{ResponseWriter: w, conn: http.NewResponseController(w), idle: g.cfg.ClientIdle}
}

// WriteHeader notes the answer's status.
func (w *pacedWriter) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write writes to the client, for at most the idle time.
func (w *pacedWriter) Write(p []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(p)
}

// FlushError flushes what was written, for at most the idle time.
func (w *pacedWriter) FlushError() error {
	w.extend()
	return w.conn.Flush()
}

// extend moves the write deadline. It is moved rarely, because a deadline costs more than a small write.
func (w *pacedWriter) extend() {
	now := time.Now()
	if w.until.Sub(now) > w.idle/2 {
		return
	}
	w.until = now.Add(w.idle)
	_ = w.conn.SetWriteDeadline(w.until)
}

// end takes the write deadline away, for the next request on the connection.
func (w *pacedWriter) end() {
	if !w.until.IsZero() {
		_ = w.conn.SetWriteDeadline(time.Now().Add(w.idle))
	}
}

// Unwrap returns the ResponseWriter below, for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
