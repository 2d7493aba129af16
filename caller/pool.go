package caller

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/caller/internal/hedge"
	"github.com/penstock/penstock/caller/internal/latency"
	"github.com/penstock/penstock/caller/internal/singleflight"
)

// Pool makes calls with the keys of one pool.
type Pool struct {
	settings  *settings
	redis     redis.UniversalClient
	admission *admission.Controller
	keyring   keyring
	stats     stats
	closing   context.Context // ends when Close begins
	beginEnd  context.CancelFunc
	throttles throttles
	suspects  suspects
	missing   missing
	durations latency.Recent // of calls that have a deadline, by what they ask for
	summaries summarizer
	shadow    *admission.Shadow // nil: calls are admitted

	circuits *circuits          // nil: the circuit breaker is off
	hedger   *hedge.Hedger      // nil: hedging is off
	flights  singleflight.Group // calls that share their result
}

// New returns a Pool whose shared state is in the Redis of rdb. It checks the whole configuration. It doesn't call Redis:
// the first call does. Close ends the Pool.
func New(rdb redis.UniversalClient, cfg Config) (*Pool, error) {
	if rdb == nil {
		return nil, errors.New("caller: New needs a Redis client")
	}
	s, err := newSettings(cfg)
	if err != nil {
		return nil, err
	}
	c := &Pool{settings: s, redis: rdb, hedger: s.newHedger()}
	c.closing, c.beginEnd = context.WithCancel(context.Background())
	c.circuits = c.newCircuits()
	c.keyring.set(s.Name, s.Keys)
	c.stats.init(len(s.metrics))
	c.admission = admission.New(rdb, s.admission(c.observer()))
	if s.Shadow {
		c.shadow = admission.NewShadow(c.admission)
	}
	if hook := s.Hooks.Opened; hook != nil {
		hook(context.Background(), c)
	}
	return c, nil
}

// Close refuses new calls, ends the calls that wait for admission or their next attempt with ErrClosed, waits until ctx ends
// for the calls in flight, and returns every permit. While Redis fails it tries again until ctx ends, or three times if ctx
// has no deadline. Its error says what stays taken in Redis until the session ends. Calls that are
// still in flight then end with ErrLeaseLost before Redis gives their permits to other processes.
func (c *Pool) Close(ctx context.Context) error {
	c.beginEnd()
	if hook := c.settings.Hooks.Closed; hook != nil {
		defer hook(context.WithoutCancel(ctx), c)
	}
	if c.shadow != nil {
		c.shadow.Close()
		defer c.shadow.Wait(ctx)
	}
	c.summaries.end(ctx)
	if err := c.admission.Close(ctx); err != nil {
		return &Error{Pool: c.settings.Name, Err: err}
	}
	return nil
}

// Name returns Config.Name.
func (c *Pool) Name() string { return c.settings.Name }
