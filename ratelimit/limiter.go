package ratelimit

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// Client is what a Limiter needs of a Redis client: *redis.Client, *redis.ClusterClient, *redis.Ring and
// redis.UniversalClient have it.
type Client = scripts.Client

// Config is how a Limiter works. The zero Config has all the defaults.
type Config struct {
	// Prefix comes before every key. Defaults to "rate:", as in redis_rate: services that use either package then
	// share their limits.
	Prefix string
	// DisableBatching switches coalescing off: every call is a script call of its own.
	DisableBatching bool
	// Inline has a call that finds no script call under way wait for Redis on its own goroutine, also if its context can
	// end, as redis_rate does. That saves two hand-overs between goroutines, which take about a quarter of the time of a
	// lone call to a Redis on the same machine. But the end of the context is then noticed with Redis' answer, or when
	// the client's own time-out has passed: go-redis can't be interrupted while it reads. It has no effect with Timeout.
	Inline bool
	// MaxBatch is how many calls one script call may serve. Defaults to 8192.
	MaxBatch int
	// MaxKeys is how many keys one script call may touch; it bounds the time that Redis is kept from other work,
	// about 3 µs per key. Defaults to 128.
	MaxKeys int
	// MaxInFlight is how many script calls may be under way at a time, per node or hash tag. A second one is started
	// only when a batch is full; Redis may then serve the two in either order. Defaults to 4.
	MaxInFlight int
	// MaxWait is how far ahead of now a place may lie. Defaults to 0: as far as the context's deadline.
	MaxWait time.Duration
	// Timeout bounds the time that a call waits for Redis. A script that reaches Redis later than that does nothing.
	// Defaults to 0, the client's own time-outs, with FailClosed, and to 1 s with other policies.
	Timeout time.Duration
	// RefusalTTL is for how long a refusal is remembered: calls that can't fit, by what Redis said, are refused without
	// asking again. What this process gives back or resets ends it at once; what others give back is seen after this
	// time. Defaults to 100 ms; negative: every call asks Redis.
	RefusalTTL time.Duration
	// Away is what calls are answered while Redis can't be asked. Defaults to FailClosed. LocalShare keeps a sorted set
	// of the processes in Redis, "penstock:clients:" and the prefix.
	Outage OutagePolicy
	// Hooks observe what happens.
	Hooks Hooks
}

func (c *Config) complete() error {
	switch {
	case c.MaxBatch < 0, c.MaxKeys < 0, c.MaxInFlight < 0:
		return fmt.Errorf("ratelimit: MaxBatch, MaxKeys and MaxInFlight must not be negative: %d, %d, %d",
			c.MaxBatch, c.MaxKeys, c.MaxInFlight)
	case c.MaxWait < 0, c.Timeout < 0:
		return fmt.Errorf("ratelimit: MaxWait and Timeout must not be negative: %v, %v", c.MaxWait, c.Timeout)
	}
	if c.Outage < FailClosed || c.Outage > LocalShare {
		return fmt.Errorf("ratelimit: Away is %d, must be FailClosed, FailOpen or LocalShare", c.Outage)
	}
	if c.Outage != FailClosed {
		c.Timeout = cmp.Or(c.Timeout, time.Second)
	}
	c.Prefix = cmp.Or(c.Prefix, "rate:")
	c.MaxBatch = cmp.Or(c.MaxBatch, 8192)
	c.MaxKeys = cmp.Or(c.MaxKeys, 128)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 4)
	c.RefusalTTL = cmp.Or(c.RefusalTTL, 100*time.Millisecond)
	return nil
}

// Limiter answers calls on any number of limits, each named by a key and shared with every process that uses the same
// Redis. It is safe for concurrent use. It has no goroutines left 50 ms after its last call, and need not be closed. (A
// synctest bubble must let that time pass before it ends.)
type Limiter struct {
	client Client
	cfg    Config
	tagged bool // keys of one script call need a common hash tag
	start  time.Time

	seed  maphash.Seed
	front [frontSize]atomic.Pointer[entry] // some of entries, by hash of the key

	mu      sync.Mutex
	entries map[string]*entry
	shards  map[string]*shard // by hash tag; for a single node, one for all
	sweepAt int               // size of entries at which drained ones are dropped

	presence presence
	runners  runners
}

// NewLimiter returns a Limiter with the defaults.
func NewLimiter(rdb Client) *Limiter {
	l, err := New(rdb, Config{})
	if err != nil {
		return nil // not reached: the zero Config is valid
	}
	return l
}

// New returns a Limiter.
func New(rdb Client, cfg Config) (*Limiter, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	_, single := rdb.(*redis.Client)
	return &Limiter{
		client:  rdb,
		cfg:     cfg,
		tagged:  !single,
		start:   time.Now(),
		seed:    maphash.MakeSeed(),
		entries: map[string]*entry{},
		shards:  map[string]*shard{},
		sweepAt: sweepMin,

		presence: newPresence(),
	}, nil
}

// hashTag returns the part of a Redis key that decides on its node: what is between the first '{' and the next '}', or
// all of it if that is empty.
func hashTag(key string) string {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			return key[i+1 : i+1+j]
		}
	}
	return key
}
