package redistest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// faultConn is a client's connection through Faults. As with any net.Conn, one goroutine writes and one reads.
type faultConn struct {
	net.Conn
	faults *Faults

	mu       sync.Mutex
	await    []*Rule       // apply to the next reply
	holding  chan struct{} // until closed, reply is held back; only for the reading goroutine
	reply    []byte        // read from the server, not yet given to the client
	withheld []byte        // commands that wait for Release
	hasWait  bool          // withheld is in force, even if empty
	deadline time.Time     // of reads
	moved    chan struct{} // closed and replaced when the deadline changes
	gone     bool          // closed by the client, or cut
	cut      bool          // closed by a fault
	closed   chan struct{}
}

func (c *faultConn) Write(p []byte) (int, error) {
	for _, r := range c.faults.matching(p) {
		switch r.kind {
		case count:
			r.hit()
		case before:
			r.do()
			r.hit()
		case reset:
			c.reset()
			r.hit()
			return 0, c.explain("write", nil)
		case blackholeFrom:
			c.faults.Blackhole()
			r.hit()
		case holdCommand:
			c.withhold(r, p)
			return len(p), nil
		case after, loseReply, holdReply:
			c.mu.Lock()
			c.await = append(c.await, r)
			c.mu.Unlock()
		}
	}
	if c.faults.is(blackhole) || c.queued(p) {
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		return n, c.explain("write", err)
	}
	return n, nil
}

// withhold keeps p until the rule is released.
func (c *faultConn) withhold(r *Rule, p []byte) {
	c.mu.Lock()
	c.hasWait = true
	c.withheld = append(c.withheld, p...)
	c.mu.Unlock()
	if !r.hold(c) {
		c.flush()
		return
	}
	r.hit()
}

// queued appends p to what is withheld, if anything is: the order of a connection never changes.
func (c *faultConn) queued(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasWait {
		c.withheld = append(c.withheld, p...)
	}
	return c.hasWait
}

// flush sends what was withheld. If the client has closed the connection, it also waits for the server's
// reply, which shows that the command was executed, and then closes the connection.
func (c *faultConn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hasWait {
		return
	}
	_ = c.Conn.SetWriteDeadline(time.Time{}) // the client's own has long passed
	_, err := c.Conn.Write(c.withheld)
	c.withheld, c.hasWait = nil, false
	if !c.gone {
		return
	}
	if err == nil {
		_ = c.Conn.SetReadDeadline(time.Now().Add(bound))
		_, _ = io.ReadAtLeast(c.Conn, make([]byte, 1), 1)
	}
	_ = c.Conn.Close()
	c.faults.forget(c)
}

func (c *faultConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	reply, cut := c.reply, c.cut
	c.mu.Unlock()
	if cut { // also with a reply from before the cut: go-redis reads on after an error
		return 0, c.explain("read", nil)
	}
	for len(reply) == 0 {
		n, err := c.Conn.Read(p)
		if c.faults.is(blackhole) && err == nil {
			continue // it never arrives
		}
		if err != nil {
			return n, c.explain("read", err)
		}
		reply = append(reply, p[:n]...)
		c.slow()
	}
	err := c.wait() // perhaps for what held the reply at the read before this one
	if err == nil {
		err = c.disturb()
	}
	if err != nil {
		c.mu.Lock()
		c.reply = reply // a read that timed out may be repeated
		c.mu.Unlock()
		return 0, err
	}
	n := copy(p, reply)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply = reply[n:]
	return n, nil
}

// disturb applies the rules that waited for this reply.
func (c *faultConn) disturb() error {
	for {
		c.mu.Lock()
		if len(c.await) == 0 {
			c.mu.Unlock()
			return nil
		}
		r := c.await[0]
		c.await = c.await[1:]
		c.mu.Unlock()

		switch r.kind {
		case after:
			r.do()
			r.hit()
		case loseReply:
			c.reset()
			r.hit()
			return c.explain("read", nil)
		case holdReply:
			c.holding = r.released
			r.hit()
			if err := c.wait(); err != nil {
				return err
			}
		}
	}
}

// slow holds the reply back for as long as the network is slow.
func (c *faultConn) slow() {
	if d := c.faults.slowness(); d > 0 {
		hold := make(chan struct{})
		time.AfterFunc(d, func() { close(hold) })
		c.holding = hold
	}
}

// wait blocks a read until the reply is no longer held back, the read's deadline passes or the connection is closed.
func (c *faultConn) wait() error {
	for c.holding != nil {
		c.mu.Lock()
		deadline, moved := c.deadline, c.moved
		c.mu.Unlock()
		var late <-chan time.Time
		if !deadline.IsZero() {
			late = time.After(time.Until(deadline))
		}
		select {
		case <-c.holding:
			c.holding = nil
		case <-c.closed:
			return c.explain("read", net.ErrClosed)
		case <-late:
			return os.ErrDeadlineExceeded
		case <-moved:
		}
	}
	return nil
}

// explain turns the error of a connection that a fault has closed into that of a real network.
func (c *faultConn) explain(op string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return &net.OpError{Op: op, Err: syscall.ECONNRESET}
	}
	return err
}

// The deadlines of a reset connection can be set without an error; the next read or write has it.

func (c *faultConn) SetDeadline(t time.Time) error {
	c.move(t)
	return c.unlessCut(c.Conn.SetDeadline(t))
}

func (c *faultConn) SetReadDeadline(t time.Time) error {
	c.move(t)
	return c.unlessCut(c.Conn.SetReadDeadline(t))
}

func (c *faultConn) SetWriteDeadline(t time.Time) error {
	return c.unlessCut(c.Conn.SetWriteDeadline(t))
}

func (c *faultConn) unlessCut(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return nil
	}
	return err
}

func (c *faultConn) move(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.moved)
	c.moved = make(chan struct{})
}

// Close is the client's. A command that is withheld still reaches the server later.
func (c *faultConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return net.ErrClosed
	}
	c.gone = true
	close(c.closed)
	if c.hasWait {
		return nil
	}
	c.faults.forget(c)
	return c.Conn.Close()
}

// reset resets the connection during the client's use.
func (c *faultConn) reset() {
	c.mu.Lock()
	c.cut = true
	if !c.gone {
		c.gone = true
		close(c.closed)
	}
	c.mu.Unlock()
	_ = c.Conn.Close()
	c.faults.forget(c)
}
