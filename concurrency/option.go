package concurrency

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Defaults of the options.
const (
	DefaultTTL    = 10 * time.Second
	DefaultPoll   = 250 * time.Millisecond
	DefaultLinger = 20 * time.Millisecond
)

// Policy says what happens while Redis is away. In every case leases live on until their session ends by the local
// clock, and released permits are handed on within the process until then.
type Policy int

const (
	// LocalShare, the default, gives each process its part of the limit: the limit divided by the number of processes,
	// see WithFleet. A process that alone is cut off so adds at most its part to what the others use.
	LocalShare Policy = iota
	// FailClosed gives no permits and ends waits with ErrUnavailable.
	FailClosed
	// FailOpen gives every caller a permit at once.
	FailOpen
)

type config struct {
	limit, version int64
	ttl            time.Duration
	poll           time.Duration
	linger         time.Duration
	maxHold        time.Duration
	fleet          int64
	policy         Policy
	session        string
	adaptive       *Adaptive
	hooks          Hooks
}

// Option changes how a semaphore works.
type Option func(*config)

// WithTTL sets how long the permits of a process that died stay taken: from one second to an hour, the default is
// DefaultTTL. The heartbeat is a third of it. A process that can't reach Redis for as long loses its leases.
func WithTTL(ttl time.Duration) Option { return func(c *config) { c.ttl = ttl } }

// WithPoll sets how often a process whose callers wait asks Redis without having been told to, from 1 ms to the TTL:
// what a lost message costs. The default is DefaultPoll.
func WithPoll(every time.Duration) Option { return func(c *config) { c.poll = every } }

// WithLinger sets how long a process keeps a released permit in case it needs it again, while nobody else wants it.
// The default is DefaultLinger, 0 gives it back at once. It must be below the TTL.
func WithLinger(d time.Duration) Option { return func(c *config) { c.linger = d } }

// WithMaxHold ends leases that were held for longer, for calls that hang: the lease's context is cancelled and its
// permits go to the next caller. The default is 0: no maximum.
func WithMaxHold(d time.Duration) Option { return func(c *config) { c.maxHold = d } }

// WithVersion gives the limit a version: processes with a lower one follow the higher. Of different limits with the
// same version, the lowest counts for as long as a process with that limit is active. The default is 0.
func WithVersion(v int64) Option { return func(c *config) { c.version = v } }

// WithPolicy says what happens while Redis is away. The default is LocalShare.
func WithPolicy(p Policy) Option { return func(c *config) { c.policy = p } }

// WithFleet says how many processes share the limit at least, for LocalShare. Without it, a process goes by the most
// that it has seen active at a time.
func WithFleet(processes int) Option { return func(c *config) { c.fleet = int64(processes) } }

// WithSession names this process to whoever inspects the semaphore. The default is host name and process number.
func WithSession(name string) Option { return func(c *config) { c.session = name } }

// WithHooks sets functions that observe what happens.
func WithHooks(h Hooks) Option { return func(c *config) { c.hooks = h } }

// Hooks observe what happens. Each is optional, is called synchronously, from several goroutines at once, and must
// return quickly.
type Hooks struct {
	// Lost is called when leases are lost, with their number and the cause, an ErrLeaseLost.
	Lost func(leases int, cause error)
	// Away is called when Redis is found to be away, with the error, and with nil when it is back.
	Away func(err error)
}

func newConfig(limit int64, opts []Option) (config, error) {
	c := config{limit: limit, ttl: DefaultTTL, poll: DefaultPoll, linger: DefaultLinger, fleet: 1}
	for _, o := range opts {
		o(&c)
	}
	if c.session == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		c.session = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if c.adaptive != nil {
		c.adaptive.defaults(int(limit))
	}
	return c, c.validate()
}

func (c *config) validate() error {
	switch {
	case c.limit < 1 || c.limit > scripts.SemaphoreMost:
		return fmt.Errorf("limit is %d: it must be from 1 to %d", c.limit, scripts.SemaphoreMost)
	case c.ttl < time.Second || c.ttl > time.Hour:
		return fmt.Errorf("WithTTL(%v): it must be from 1s to 1h", c.ttl)
	case c.poll < time.Millisecond || c.poll > c.ttl:
		return fmt.Errorf("WithPoll(%v): it must be from 1ms to the TTL, %v", c.poll, c.ttl)
	case c.linger < 0 || c.linger >= c.ttl:
		return fmt.Errorf("WithLinger(%v): it must not be negative, and below the TTL, %v", c.linger, c.ttl)
	case c.maxHold < 0:
		return fmt.Errorf("WithMaxHold(%v): it must not be negative", c.maxHold)
	case c.version < 0 || c.version > 1<<52:
		return fmt.Errorf("WithVersion(%d): it must be from 0 to %d", c.version, int64(1)<<52)
	case c.policy < LocalShare || c.policy > FailOpen:
		return fmt.Errorf("WithPolicy(%d): it must be LocalShare, FailClosed or FailOpen", c.policy)
	case c.fleet < 1:
		return fmt.Errorf("WithFleet(%d): it must be at least 1", c.fleet)
	case len(c.session) > 1024:
		return errors.New("WithSession: the name must not be longer than 1024 bytes")
	case c.adaptive != nil:
		return c.adaptive.validate(int(c.limit), c.ttl)
	}
	return nil
}
