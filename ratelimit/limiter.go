package ratelimit

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/scripts"
)

// Client is the part of a Redis client that a Limiter needs. *redis.Client, *redis.ClusterClient, *redis.Ring and
// redis.UniversalClient implement it.
type Client = scripts.Client

// Config configures a Limiter. Its zero value has the defaults.
type Config struct {
	// Prefix is prepended to every key. Defaults to "rate:", the prefix of redis_rate, so that services with either package
	// share their limits.
	Prefix string
	// DisableBatching makes every call a script call of its own.
	DisableBatching bool
	// Inline makes a lone call wait for Redis on its own goroutine even if its context can end, as redis_rate does. That
	// saves two handovers between goroutines. In a process that is otherwise idle each wakes a sleeping thread: together a
	// quarter of the call's time with a Redis on the same machine. With one thread they are a tenth of it. The call then
	// notices the end of its context only with Redis' reply or the client's timeout, because go-redis can't be interrupted
	// while it reads. Inline has no effect together with Timeout.
	Inline bool
	// MaxBatch is the largest number of calls in one script call. At least 1. Defaults to 8192.
	MaxBatch int
	// MaxKeys is the largest number of keys in one script call. It bounds the time for which a script blocks Redis, about
	// 3 µs per key. At least 1. Defaults to 128.
	MaxKeys int
	// MaxInFlight is the largest number of concurrent script calls per node or hash tag. A second script call starts only
	// when a batch is full. Redis may run concurrent script calls in any order. At least 1. Defaults to 4.
	MaxInFlight int
	// MaxWait is the longest wait that a booking may need, by Redis' clock. Not negative. Defaults to 0: until the context's
	// deadline.
	MaxWait time.Duration
	// Timeout is the longest time that a call waits for Redis. A script that starts later does nothing. Not negative. With
	// FailClosed it defaults to 0, which leaves the client's own timeouts. With other policies it defaults to 1 s.
	Timeout time.Duration
	// RefusalTTL is how long a refusal is cached. Calls that can't fit by the cached state are refused without asking
	// Redis. A refund or Reset by this process clears the entry at once; those by other processes take effect after
	// RefusalTTL. Defaults to 100 ms; negative: no caching.
	RefusalTTL time.Duration
	// Outage is what calls return while Redis is unavailable. Defaults to FailClosed. LocalShare keeps a sorted set of the
	// processes in Redis, named "penstock:clients:" and the prefix.
	Outage OutagePolicy
	// Hooks observe calls and script calls. Defaults to none.
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
		return fmt.Errorf("ratelimit: Outage is %d, must be FailClosed, FailOpen or LocalShare", c.Outage)
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

// Limiter answers calls on any number of limits. Each limit is named by a key and shared by all processes that use the
// same Redis. A Limiter is safe for concurrent use. It needs no Close: its goroutines end within 50 ms after the last
// call, and its timer doesn't keep it in memory. (A synctest bubble must let that time pass before it ends.)
type Limiter struct {
	client Client
	cfg    Config
	tagged bool // the keys of a script call need a common hash tag
	nodes  nodes
	start  time.Time

	seeds [2]maphash.Seed                  // of digests
	front [frontSize]atomic.Pointer[entry] // a cache of entries, by digest

	mu       sync.Mutex
	byDigest map[digest]*entry
	entries  []*entry // of byDigest, in no order
	hand     int      // index of the entry that is examined for eviction next
	stored   storedStates
	shards   []*shard // one; if tagged, shardCount, by hash of the tag, and nil until the first use
	sweeping bool     // a sweep is scheduled or runs

	presence presence
	runners  runners
}

// NewLimiter returns a Limiter with the default Config. If rdb is nil, every call of the Limiter fails: New returns that error.
func NewLimiter(rdb Client) *Limiter {
	l, err := New(rdb, Config{})
	if err != nil {
		l, _ = New(failingClient{err}, Config{})
	}
	return l
}

// failingClient is a client whose every command fails with an error.
type failingClient struct{ err error }

func (c failingClient) Process(_ context.Context, cmd redis.Cmder) error {
	cmd.SetErr(c.err)
	return c.err
}

// New returns a Limiter. The error says which field of cfg is invalid.
func New(rdb Client, cfg Config) (*Limiter, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if isNil(rdb) {
		return nil, fmt.Errorf("%w: the Redis client is nil: pass one of package github.com/redis/go-redis/v9", ErrInvalid)
	}
	_, single := rdb.(*redis.Client)
	l := &Limiter{
		client:   rdb,
		cfg:      cfg,
		tagged:   !single,
		start:    time.Now(),
		seeds:    [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		byDigest: map[digest]*entry{},
		shards:   make([]*shard, 1),

		presence: newPresence(),
	}
	if l.tagged {
		l.shards = make([]*shard, shardCount)
	}
	l.nodes.init(rdb)
	return l, nil
}
