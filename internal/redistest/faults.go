package redistest

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Faults is the network between a client and Redis, broken where the test says: at a command that matches a rule, or
// from now on.
//
//	faults := redistest.NewFaults(t)
//	rdb := faults.Client(t, redistest.Client(t).Options())
//	lost := faults.LoseReply(redistest.Nth(2, redistest.Contains("evalsha")))
//	... // the second EVALSHA is executed by the server, and the client sees its connection reset
//	lost.Wait(t, 1)
//
// Rules, each for the commands that match: Count, Before, After, Reset, LoseReply, HoldReply, HoldCommand,
// BlackholeFrom. State of the whole network: Slow, Blackhole, Refuse, Cut, Heal. Listen makes all that available to other
// processes.
//
// A rule sees what go-redis writes in one piece: one command, or a whole pipeline or transaction (pieces above 32 KiB
// come apart; the rule then sees the first part by itself). Several rules may match one command; they apply in the
// order in which they were made. All methods may be called from any goroutine at any time.
type Faults struct {
	mu     sync.Mutex
	rules  []*Rule
	conns  map[*faultConn]struct{}
	state  state
	delay  time.Duration
	healed chan struct{} // closed when the state ends
}

type state int

const (
	sound state = iota
	blackhole
	refusing
)

// NewFaults returns a network without faults. What is still held when t ends is dropped.
func NewFaults(t testing.TB) *Faults {
	f := &Faults{conns: make(map[*faultConn]struct{}), healed: make(chan struct{})}
	t.Cleanup(func() {
		f.Heal()
		f.Cut()
	})
	return f
}

// Client returns a client with a copy of opts whose connections go through f; it is closed when t ends.
func (f *Faults) Client(t testing.TB, opts *redis.Options) *redis.Client {
	t.Helper()
	through := *opts
	through.Dialer = f.Dial
	return open(t, &through)
}

// Dial connects to a server through f. Its form is that of Dialer in redis.Options, redis.ClusterOptions and
// redis.FailoverOptions.
func (f *Faults) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	for {
		f.mu.Lock()
		now, healed := f.state, f.healed
		f.mu.Unlock()
		if now == sound {
			break
		}
		if now == refusing {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		select {
		case <-healed:
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		case <-time.After(bound): // bounds a caller without a deadline
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ETIMEDOUT}
		}
	}
	d := net.Dialer{Timeout: bound}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &faultConn{Conn: conn, faults: f, closed: make(chan struct{}), moved: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[c] = struct{}{}
	return c, nil
}

// Slow makes every reply, from the next one on, arrive later by d; 0 ends that.
func (f *Faults) Slow(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delay = d
}

// Blackhole makes the network swallow everything from now on, in both directions: commands are not sent, replies do
// not arrive, dials hang, and the client gets no error before its own deadline.
func (f *Faults) Blackhole() { f.set(blackhole) }

// Refuse resets all connections and refuses new ones, as a host without a Redis does.
func (f *Faults) Refuse() {
	f.set(refusing)
	f.Cut()
}

// Cut resets all connections, once. New ones can be made at once.
func (f *Faults) Cut() {
	for _, c := range f.open() {
		c.reset()
	}
}

// Heal ends Blackhole and Refuse. Connections that were open during a blackhole are reset: what they have swallowed
// is lost.
func (f *Faults) Heal() {
	f.mu.Lock()
	was := f.state
	f.mu.Unlock()
	if was == blackhole {
		f.Cut()
	}
	f.set(sound)
}

func (f *Faults) set(s state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s == sound && f.state != sound {
		close(f.healed)
		f.healed = make(chan struct{})
	}
	f.state = s
}

func (f *Faults) is(s state) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == s
}

func (f *Faults) slowness() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.delay
}

func (f *Faults) open() []*faultConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*faultConn, 0, len(f.conns))
	for c := range f.conns {
		all = append(all, c)
	}
	return all
}

func (f *Faults) forget(c *faultConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// matching returns the rules that apply to a piece that is about to be sent.
func (f *Faults) matching(sent []byte) []*Rule {
	f.mu.Lock()
	rules := f.rules
	f.mu.Unlock()
	var hit []*Rule
	for _, r := range rules {
		if r.matches(sent) {
			hit = append(hit, r)
		}
	}
	return hit
}
