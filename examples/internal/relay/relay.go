// Package relay is a TCP relay between clients and a server that delays, swallows, resets and cuts what it carries.
//
//	r, err := relay.Start("127.0.0.1:6379")
//	defer r.Close()
//	... // clients connect to r.Addr()
//	r.Slow(300 * time.Millisecond)
//
// It carries bytes and knows no protocol. A piece is what one read from a connection returns.
package relay

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds a connection to the server.
const dialTimeout = 5 * time.Second

// Relay carries connections to one server. All methods are safe for concurrent use.
type Relay struct {
	target   string
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu    sync.Mutex
	pairs map[*pair]struct{}
	delay time.Duration
	mute  bool
	halve int // replies that are still to be cut in half
}

// pair is one client's connection and its connection to the server.
type pair struct{ client, server net.Conn }

// Start listens on a free port of 127.0.0.1 and relays to the address target until Close.
func Start(target string) (*Relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{target: target, listener: listener, pairs: map[*pair]struct{}{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(r.accept)
	return r, nil
}

// Addr returns the address that clients connect to, 127.0.0.1:port.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Close ends all connections and waits for them.
func (r *Relay) Close() {
	r.cancel()
	_ = r.listener.Close()
	r.Cut()
	r.running.Wait()
}

// Slow delays each piece of a reply by d from now on. 0 ends the delay.
func (r *Relay) Slow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Mute swallows every piece, in both directions, from now on. Connections stay open and new ones are accepted.
func (r *Relay) Mute() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = true
}

// Halve cuts the next n replies: the first half of the piece arrives, and then the connection is reset.
func (r *Relay) Halve(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halve = n
}

// Cut resets all connections, once.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.reset()
	}
}

// Heal ends Slow, Mute and Halve. After Mute all connections are reset, because bytes are missing in them.
func (r *Relay) Heal() {
	r.mu.Lock()
	wasMute := r.mute
	r.delay, r.mute, r.halve = 0, false, 0
	r.mu.Unlock()
	if wasMute {
		r.Cut()
	}
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.running.Go(func() { r.carry(client) })
	}
}

// carry relays one connection until either side ends it.
func (r *Relay) carry(client net.Conn) {
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(r.ctx, "tcp", r.target)
	p := &pair{client, server}
	if err != nil { // the client sees what a dead server would do
		p.reset()
		return
	}
	r.mu.Lock()
	r.pairs[p] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pairs, p)
		r.mu.Unlock()
	}()
	if r.ctx.Err() != nil { // Close has passed between the dial and here
		p.reset()
	}
	var ways sync.WaitGroup
	ways.Go(func() { r.carryOneWay(p, server, client, false) })
	ways.Go(func() { r.carryOneWay(p, client, server, true) })
	ways.Wait()
}

func (r *Relay) carryOneWay(p *pair, to, from net.Conn, replies bool) {
	defer p.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		piece := buffer[:n]
		mute, half, delay := r.fault(replies)
		if mute {
			continue
		}
		if delay > 0 && !r.wait(delay) {
			return
		}
		if half {
			piece = piece[:n/2]
		}
		if _, err := to.Write(piece); err != nil {
			return
		}
		if half {
			p.reset()
			return
		}
	}
}

// fault says what happens to a piece.
func (r *Relay) fault(reply bool) (mute, half bool, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute || !reply {
		return r.mute, false, 0
	}
	if r.halve > 0 {
		r.halve--
		half = true
	}
	return false, half, r.delay
}

// wait waits for d. It returns false when the relay closes.
func (r *Relay) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// reset ends the client's connection with a reset rather than an orderly end.
func (p *pair) reset() {
	if tcp, ok := p.client.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	p.close()
}

func (p *pair) close() {
	_ = p.client.Close()
	if p.server != nil {
		_ = p.server.Close()
	}
}
