package caller

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// responseBody is the body of an attempt's response. It ends the attempt when it has been read to the end or closed, or
// when the attempt's context ends. It settles the call's usage.
type responseBody struct {
	io.ReadCloser // the base transport's

	grant   *Grant
	content *content // nil: the content doesn't matter

	head    []byte // read to judge the response; Read returns it first
	headErr error  // the error behind head; nil: more can be read

	idle   time.Duration // longest time between bytes; 0: no bound
	timer  *time.Timer   // of the current Read; nil: there was none
	waited time.Duration // for bytes, since the last byte that counts

	stopWatch func() bool // of the attempt's context
	finished  sync.Once
}

// newBody makes the response's body end the attempt. It returns nil if there is nothing to read; the attempt has ended
// then.
func (t *Transport) newBody(res *http.Response, g *Grant, c *content) *responseBody {
	if res.Body == http.NoBody || !mayHaveBody(res) {
		g.finishAttempt()
		return nil
	}
	b := &responseBody{ReadCloser: res.Body, grant: g, content: c, idle: max(t.pool.settings.IdleTimeout, 0)}
	res.Body = b
	if w, ok := b.ReadCloser.(io.Writer); ok { // 101 Switching Protocols
		b.idle = 0
		res.Body = struct {
			*responseBody
			io.Writer
		}{b, w}
	}
	b.stopWatch = context.AfterFunc(g.ctx.Context, func() { b.end(false) })
	return b
}

// mayHaveBody reports whether the response may have a body. HTTP/2 gives responses without one a body of its own type.
func mayHaveBody(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusNoContent, http.StatusResetContent, http.StatusNotModified:
		return false
	case http.StatusSwitchingProtocols:
		return true
	}
	return res.Request == nil || res.Request.Method != http.MethodHead
}

// Read reads from the body. Its end or an error ends the attempt.
func (b *responseBody) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		if b.head = b.head[n:]; len(b.head) == 0 {
			b.head = nil // a stream can stay open for long
		}
		if b.head != nil || b.headErr == nil {
			return n, nil
		}
		b.finish(b.complete())
		return n, b.headErr
	}
	if b.headErr != nil {
		b.finish(b.complete())
		return 0, b.headErr
	}
	n, err := b.read(p)
	if err != nil {
		b.finish(errors.Is(err, io.EOF))
	}
	return n, err
}

// read reads from the base transport's body.
func (b *responseBody) read(p []byte) (int, error) {
	begun := b.startIdle()
	n, err := b.ReadCloser.Read(p)
	if b.idle > 0 {
		b.timer.Stop()
		b.waited += time.Since(begun)
	}
	counts := n > 0
	if n > 0 && b.content != nil {
		counts = b.content.write(p[:n]) || !b.grant.pool.settings.IgnoreKeepAlives
	}
	b.learn()
	if counts {
		b.waited = 0
	}
	if err != nil {
		err = b.failure(err)
	}
	return n, err
}

// learn applies the verdict on a failure that stands in the middle of a stream.
func (b *responseBody) learn() {
	if b.content == nil {
		return
	}
	if v, ok := b.content.takeFailure(); ok {
		_, _ = (&call[*http.Response]{pool: b.grant.pool}).applyVerdict(b.grant, v, 0)
	}
}

// startIdle starts the timer of a Read.
func (b *responseBody) startIdle() (now time.Time) {
	if b.idle <= 0 {
		return now
	}
	left := max(b.idle-b.waited, 1)
	if b.timer == nil {
		b.timer = time.AfterFunc(left, b.stalled)
	} else {
		b.timer.Reset(left)
	}
	return time.Now()
}

// stalled ends the attempt, and a Read of a base transport that doesn't obey its context.
func (b *responseBody) stalled() {
	b.grant.ctx.cancel(ErrIdleTimeout)
	_ = b.ReadCloser.Close()
}

// failure returns the error of a Read: an *Error if the pool has ended the attempt.
func (b *responseBody) failure(err error) error {
	reason := cancelCause(&b.grant.ctx)
	if reason == nil {
		return err
	}
	g := b.grant
	return &Error{
		Pool: g.pool.settings.Name, Key: g.Key, Account: g.Account, Attempts: g.Attempt, Outcome: Transient,
		Err: withCancelCause(&g.ctx, err),
	}
}

// Close closes the body and ends the attempt.
func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.finish(b.complete())
	return err
}

// finish ends the attempt. whole says that the body was read to its end.
func (b *responseBody) finish(whole bool) {
	b.stopWatch()
	b.end(whole)
}

// end is finish for the watch over the attempt's context. Only its first call has an effect.
func (b *responseBody) end(whole bool) {
	b.finished.Do(func() {
		if b.content != nil {
			b.content.finish(b.grant, whole)
		}
		b.grant.finishAttempt()
	})
}

// complete reports whether the body was read to its end already. Read then needs neither the attempt nor its connection.
// A nil body isn't complete.
func (b *responseBody) complete() bool {
	return b != nil && errors.Is(b.headErr, io.EOF)
}

// fill reads a piece of the body into head. It returns io.EOF at the body's end. A nil body is empty.
func (b *responseBody) fill() error {
	if b == nil {
		return io.EOF
	}
	if b.headErr != nil {
		return b.headErr
	}
	b.head = slices.Grow(b.head, 4<<10)
	n, err := b.read(b.head[len(b.head):cap(b.head)])
	b.head = b.head[:len(b.head)+n]
	b.headErr = err
	if err != nil {
		b.grant.release() // the response has ended
	}
	return err
}

// drainLimit is the number of bytes that drain reads of a response, so that its connection can be used again, and drainTime
// the time that it takes at most.
const (
	drainLimit = 16 << 10
	drainTime  = 100 * time.Millisecond
)

// drain ends a response that isn't returned.
func drain(res *http.Response) {
	if res == nil {
		return
	}
	late := time.AfterFunc(drainTime, func() { _ = res.Body.Close() })
	_, _ = io.CopyN(io.Discard, res.Body, drainLimit)
	if late.Stop() {
		_ = res.Body.Close()
	}
}

// heldBody is a body that ends the attempt when it has been read to the end or closed.
type heldBody struct {
	io.ReadCloser
	grant *Grant
}

// Read reads from the body. Its end or an error ends the attempt.
func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.grant.finishAttempt()
	}
	return n, err
}

// Close closes the body and ends the attempt.
func (b *heldBody) Close() error {
	err := b.ReadCloser.Close()
	b.grant.finishAttempt()
	return err
}
