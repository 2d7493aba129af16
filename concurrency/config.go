package concurrency

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Defaults of Config.
const (
	DefaultSessionTTL   = 10 * time.Second
	DefaultPollInterval = 250 * time.Millisecond
	DefaultIdleTimeout  = 20 * time.Millisecond
)

// Config describes a semaphore. Name and Limit are required. The zero value of every other field is its default.
type Config struct {
	// Name identifies the semaphore in Redis. It may hold any bytes. Not empty.
	Name string
	// Limit is the number of permits that all processes share, or with Adaptive the upper bound of that number. From 1 to
	// 16,777,215.
	Limit int
	// LimitVersion orders different limits: processes with a lower version follow the higher. Among limits of the same
	// version, the lowest counts while a process with that limit is active. From 0 to 2^52. Defaults to 0.
	LimitVersion int64
	// Outage decides what a request gets while Redis is away. Defaults to FailClosed.
	Outage OutagePolicy
	// MinProcesses is the number of processes that share the limit at least, for LocalShare. At least 1. Defaults to 1.
	// The process uses the highest number of sessions that it has seen in Redis if that is more.
	MinProcesses int
	// Adaptive makes the limit follow the results of calls. Defaults to nil: the limit is fixed.
	Adaptive *Adaptive
	// MaxHold is the longest time that a lease may be held. After it, the lease's context is cancelled and its permits go
	// to the next request. Not negative. Defaults to 0: no maximum.
	MaxHold time.Duration
	// SessionTTL is the time until the permits of a dead process are free. The heartbeat is a third of it. A process that
	// can't reach Redis for as long loses its leases. From 1 s to 1 h. Defaults to DefaultSessionTTL.
	SessionTTL time.Duration
	// SessionName names this process in SessionState. At most 1,024 bytes. Defaults to host name and process number.
	SessionName string
	// PollInterval is the time between reports of a process with waiting requests, when no message from Redis comes. It
	// bounds the delay that a lost message causes. From 1 ms to SessionTTL. Defaults to DefaultPollInterval.
	PollInterval time.Duration
	// IdleTimeout is the time for which a process keeps released permits that no other process wants. Below SessionTTL.
	// Negative: permits are returned at once. Defaults to DefaultIdleTimeout.
	IdleTimeout time.Duration
	// Hooks observe the semaphore. Defaults to none.
	Hooks Hooks
}

// OutagePolicy decides what a request gets while Redis is away. Under every policy, leases live on until their session ends
// by the local clock, and permits released until then go to the next request of the process.
type OutagePolicy int

// Values of OutagePolicy.
const (
	// FailClosed grants no permits and ends waits with ErrUnavailable. It is the default.
	FailClosed OutagePolicy = iota
	// FailOpen grants every request at once.
	FailOpen
	// LocalShare grants each process its part of the limit: the limit divided by the number of processes. If only one
	// process loses its connection, it adds at most that part to what the others use. A process that has never reached
	// Redis doesn't know that number and grants no permits.
	LocalShare
)

// String returns the policy's name.
func (p OutagePolicy) String() string {
	switch p {
	case FailOpen:
		return "fail open"
	case LocalShare:
		return "local share"
	default:
		return "fail closed"
	}
}

// complete returns c with its defaults, or the first problem.
func (c Config) complete() (Config, error) {
	c.SessionTTL = cmp.Or(c.SessionTTL, DefaultSessionTTL)
	c.PollInterval = cmp.Or(c.PollInterval, DefaultPollInterval)
	c.IdleTimeout = max(cmp.Or(c.IdleTimeout, DefaultIdleTimeout), 0)
	c.MinProcesses = cmp.Or(c.MinProcesses, 1)
	if c.SessionName == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		c.SessionName = fmt.Sprintf("%s/%d", host, os.Getpid())
	}
	if err := c.validate(); err != nil {
		return c, err
	}
	if c.Adaptive == nil {
		return c, nil
	}
	a, err := c.Adaptive.Checked(c.Limit, c.SessionTTL)
	if err != nil {
		return c, fmt.Errorf("concurrency: %w", err)
	}
	c.Adaptive = &a // a copy: the caller may change its own
	return c, nil
}

func (c *Config) validate() error {
	switch {
	case c.Name == "":
		return errors.New("concurrency: Name is empty: set the name that all processes of the semaphore use")
	case c.Limit < 1 || c.Limit > scripts.SemaphoreMost:
		return fmt.Errorf("concurrency: Limit is %d: use a number from 1 to %d", c.Limit, scripts.SemaphoreMost)
	case c.LimitVersion < 0 || c.LimitVersion > 1<<52:
		return fmt.Errorf("concurrency: LimitVersion is %d: use a number from 0 to %d", c.LimitVersion, int64(1)<<52)
	case c.Outage < FailClosed || c.Outage > LocalShare:
		return fmt.Errorf("concurrency: Outage is %d: use FailClosed, FailOpen or LocalShare", c.Outage)
	case c.MinProcesses < 1:
		return fmt.Errorf("concurrency: MinProcesses is %d: use at least 1", c.MinProcesses)
	case c.MaxHold < 0:
		return fmt.Errorf("concurrency: MaxHold is %v: use a positive duration, or 0 for no maximum", c.MaxHold)
	case c.SessionTTL < time.Second || c.SessionTTL > time.Hour:
		return fmt.Errorf("concurrency: SessionTTL is %v: use a duration from 1s to 1h", c.SessionTTL)
	case len(c.SessionName) > 1024:
		return fmt.Errorf("concurrency: SessionName has %d bytes: use at most 1024", len(c.SessionName))
	case c.PollInterval < time.Millisecond || c.PollInterval > c.SessionTTL:
		return fmt.Errorf("concurrency: PollInterval is %v: use a duration from 1ms to SessionTTL, %v", c.PollInterval, c.SessionTTL)
	case c.IdleTimeout >= c.SessionTTL:
		return fmt.Errorf("concurrency: IdleTimeout is %v: use a duration below SessionTTL, %v", c.IdleTimeout, c.SessionTTL)
	}
	return nil
}
