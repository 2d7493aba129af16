package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

// recipe is the common way to use redis_rate: keys in turn, a check of each limit of the key's account, a sleep for
// redis_rate's RetryAfter if one is exceeded, and a semaphore for this process's part of the calls in flight. Only this
// process obeys what the provider reports. Retries are the same as Penstock's.
type recipe struct {
	task    *task
	line    *line
	limiter *redis_rate.Limiter
	config  caller.Config
	permits map[string]chan struct{} // by account

	mu   sync.Mutex
	turn int
	off  map[string]time.Time // by key or account: the time until which it isn't used
}

func newRecipe(rdb *redis.Client, l *line, t *task) *recipe {
	r := &recipe{
		task: t, line: l, limiter: redis_rate.NewLimiter(rdb), config: t.Scenario.pool(t.Pool),
		permits: map[string]chan struct{}{}, turn: rand.IntN(len(keys)), off: map[string]time.Time{},
	}
	for _, k := range keys {
		r.permits[k.account] = make(chan struct{}, max(1, t.Scenario.Concurrency/t.Processes))
	}
	return r
}

func (r *recipe) send(ctx context.Context, c *call) error {
	_, err := retry.Do(ctx, r.config.Retry, func(ctx context.Context, _ int) (struct{}, error) {
		return struct{}{}, r.attempt(ctx, c)
	}, func(struct{}) {})
	return err
}

// attempt waits for the limits of the next key's account, and sends.
func (r *recipe) attempt(ctx context.Context, c *call) error {
	key, err := r.next(ctx)
	if err != nil {
		return err
	}
	account := key.Account
	for _, l := range r.config.Limits {
		cost := 1
		if l.Metric == caller.Tokens {
			cost = c.tokens
		}
		if err := r.wait(ctx, account, l, cost); err != nil {
			return err
		}
	}
	select {
	case r.permits[account] <- struct{}{}:
		defer func() { <-r.permits[account] }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	req, err := c.request(ctx, r.task.Provider)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+key.Secret.Reveal())
	res, err := r.line.RoundTrip(req)
	if err != nil {
		return err
	}
	return r.applyError(key, caller.CheckResponse(res))
}

// next returns the next key in turn, and waits while none may be used.
func (r *recipe) next(ctx context.Context) (caller.Key, error) {
	for {
		r.mu.Lock()
		for range r.config.Keys {
			r.turn++
			k := r.config.Keys[r.turn%len(r.config.Keys)]
			if now := time.Now(); r.off[k.ID].Before(now) && r.off[k.Account].Before(now) {
				r.mu.Unlock()
				return k, nil
			}
		}
		r.mu.Unlock()
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return caller.Key{}, err
		}
	}
}

// wait asks redis_rate for a limit until it is granted.
func (r *recipe) wait(ctx context.Context, account string, l caller.Limit, cost int) error {
	name := fmt.Sprintf("%s:%s:%s", r.config.Name, account, l.Metric)
	limit := redis_rate.Limit{Rate: int(l.Rate), Burst: int(l.Rate), Period: l.Period}
	for {
		res, err := r.limiter.AllowN(ctx, name, limit, cost)
		if err != nil {
			return err
		}
		if res.Allowed > 0 {
			return nil
		}
		if err := pause(ctx, res.RetryAfter); err != nil {
			return err
		}
	}
}

// applyError stops the use of a key or account for a while if the error calls for it, and adds the retry hint.
func (r *recipe) applyError(key caller.Key, err error) error {
	status, ok := err.(*caller.StatusError)
	if !ok {
		return err
	}
	v := r.config.Profile.Judge(&http.Response{StatusCode: status.StatusCode, Header: status.Header}, status.Body)
	name := key.Account
	if v.Scope == caller.ScopeKey {
		name = key.ID
	}
	switch v.Outcome {
	case caller.Throttled:
		return retry.After(err, v.RetryAfter)
	case caller.KeyRejected, caller.OutOfCredit:
		r.mu.Lock()
		r.off[name] = time.Now().Add(time.Hour)
		r.mu.Unlock()
		return retry.Immediately(err)
	default:
		return retry.After(err, v.RetryAfter)
	}
}

func (r *recipe) missed() int64 { return 0 }

func (r *recipe) close(context.Context) error { return nil }

// pause sleeps until d is over or ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
