package redistest

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Match reports whether a rule applies to a piece that the client sends: a command in RESP, or several in a pipeline.
type Match func(sent []byte) bool

// Contains matches what contains one of the words, in any case: Contains("eval") matches EVAL and EVALSHA.
func Contains(words ...string) Match {
	lower := make([][]byte, len(words))
	for i, w := range words {
		lower[i] = []byte(strings.ToLower(w))
	}
	return func(sent []byte) bool {
		sent = bytes.ToLower(sent)
		return slices.ContainsFunc(lower, func(w []byte) bool { return bytes.Contains(sent, w) })
	}
}

// Nth matches only the n-th piece, from 1, that m matches, counted over all connections.
func Nth(n int, m Match) Match {
	var seen atomic.Int64
	return func(sent []byte) bool { return m(sent) && seen.Add(1) == int64(n) }
}

// Rule is one fault at the commands that match. It stays in force until Release.
type Rule struct {
	match Match
	kind  kind
	do    func()

	mu       sync.Mutex
	hits     int
	changed  chan struct{} // closed and replaced at each hit
	released chan struct{}
	once     sync.Once
	held     []*faultConn // connections that withhold a command
}

type kind int

const (
	count kind = iota
	before
	after
	reset
	loseReply
	holdReply
	holdCommand
	blackholeFrom
)

func (f *Faults) add(m Match, k kind, do func()) *Rule {
	r := &Rule{match: m, kind: k, do: do, changed: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(slices.Clip(f.rules), r)
	return r
}

// Count only counts: a hit is a command sent.
func (f *Faults) Count(m Match) *Rule { return f.add(m, count, nil) }

// Before calls do, in the goroutine that sends, before the command leaves.
func (f *Faults) Before(m Match, do func()) *Rule { return f.add(m, before, do) }

// After calls do, in the goroutine that reads, when the server has executed the command and before the client sees
// the reply.
func (f *Faults) After(m Match, do func()) *Rule { return f.add(m, after, do) }

// Reset resets the connection in place of sending the command: the server never sees it.
func (f *Faults) Reset(m Match) *Rule { return f.add(m, reset, nil) }

// LoseReply waits until the server has executed the command and replied, then resets the connection.
func (f *Faults) LoseReply(m Match) *Rule { return f.add(m, loseReply, nil) }

// HoldReply keeps the reply, after the server has executed the command, until Release. A hit is a reply held.
func (f *Faults) HoldReply(m Match) *Rule { return f.add(m, holdReply, nil) }

// HoldCommand keeps the command in the network until Release; then it reaches the server even if the client has given
// up and closed the connection meanwhile. A hit is a command held.
func (f *Faults) HoldCommand(m Match) *Rule { return f.add(m, holdCommand, nil) }

// BlackholeFrom swallows the command and turns the whole network into a blackhole (see Blackhole).
func (f *Faults) BlackholeFrom(m Match) *Rule { return f.add(m, blackholeFrom, nil) }

// Hits returns how often the fault has taken effect.
func (r *Rule) Hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// Wait waits until the fault has taken effect n times; it fails the test if that takes more than 30 seconds.
func (r *Rule) Wait(t testing.TB, n int) {
	t.Helper()
	late := time.After(bound)
	for {
		r.mu.Lock()
		hits, changed := r.hits, r.changed
		r.mu.Unlock()
		if hits >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("the fault has taken effect %d times in %v, want %d", hits, bound, n)
		}
	}
}

// Release ends the rule and releases what it holds. When it returns, held commands of clients that have closed their
// connection have been executed. It may be repeated.
func (r *Rule) Release() {
	r.once.Do(func() {
		close(r.released)
		r.mu.Lock()
		held := r.held
		r.held = nil
		r.mu.Unlock()
		for _, c := range held {
			c.flush()
		}
	})
}

func (r *Rule) matches(sent []byte) bool {
	select {
	case <-r.released:
		return false
	default:
		return r.match(sent)
	}
}

func (r *Rule) hit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hits++
	close(r.changed)
	r.changed = make(chan struct{})
}

// hold notes a connection that withholds a command; it reports false if the rule was released meanwhile.
func (r *Rule) hold(c *faultConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.released:
		return false
	default:
		r.held = append(r.held, c)
		return true
	}
}
