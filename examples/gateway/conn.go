package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
)

// limited is a listener of at most so many connections at a time. A further one waits to be accepted.
type limited struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once
	heads int // bytes of a head that are kept
}

func limit(l net.Listener, connections, heads int) *limited {
	return &limited{Listener: l, slots: make(chan struct{}, connections), done: make(chan struct{}), heads: heads}
}

// Accept waits for a slot and then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &conn{Conn: c, release: sync.OnceFunc(func() { <-l.slots }), most: l.heads, keeps: true}, nil
}

// Close ends the listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// conn is a connection that keeps the head of the request that is being read. net/http takes a Content-Length out of a head
// that has Transfer-Encoding, too; such a head is refused here, because another server may read its body differently.
type conn struct {
	net.Conn
	release func()
	most    int

	mu    sync.Mutex
	keeps bool
	head  []byte
}

// Read reads, and keeps what it has read until take.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keeps && n > 0 {
		c.head = append(c.head, p[:min(n, max(0, c.most-len(c.head)))]...)
	}
	return n, err
}

// Close closes the connection and frees its slot.
func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// take returns the head that was read, if it is all there, and keeps no more until expect.
func (c *conn) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	head := c.head
	c.head, c.keeps = nil, false
	for _, end := range []string{"\r\n\r\n", "\n\n", "\n\r\n"} {
		if before, _, ok := bytes.Cut(head, []byte(end)); ok {
			return before
		}
	}
	return nil
}

// expect keeps the head of the next request.
func (c *conn) expect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keeps = true
}

type connKey struct{}

// withConn gives the requests of a connection access to it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if own, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, own)
	}
	return ctx // TLS
}

// follow tells a connection that the next request begins.
func follow(c net.Conn, state http.ConnState) {
	if own, ok := c.(*conn); ok && state == http.StateIdle {
		own.expect()
	}
}

// unambiguous refuses requests whose body could be read as two different ones.
func unambiguous(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok && r.ProtoMajor == 1 {
			head := c.take()
			lengths := count(head, "content-length")
			if lengths > 1 || len(r.TransferEncoding) > 0 && (head == nil || lengths > 0) {
				w.Header().Set("Connection", "close")
				w.Header().Set("X-Should-Retry", "false")
				http.Error(w, "the length of the body is given twice: give Content-Length or Transfer-Encoding, once", http.StatusBadRequest)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// count returns how often a head has a header.
func count(head []byte, name string) int {
	n := 0
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		field, _, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(bytes.TrimSpace(field), []byte(name)) {
			n++
		}
	}
	return n
}
