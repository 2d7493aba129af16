// Package bench tests the examples over client libraries: with a simulated provider, an embedded Redis and a pool.
package bench

import (
	"context"
	"errors"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/retry"
)

// Bench is a simulated provider, an embedded Redis, and a pool over both.
type Bench struct {
	Sim  *apisim.Server
	Pool *caller.Pool

	redis *miniredis.Miniredis
	rdb   *redis.Client
}

// New returns a Bench for a provider's profile: two keys of one account, 600 requests a minute, two calls at a time. change
// changes the configurations of the pool and the provider. It may be nil.
func New(profile caller.Profile, change func(*caller.Config, *apisim.Config)) (*Bench, error) {
	world := apisim.Config{
		Accounts: []apisim.Account{{
			ID: "org", Concurrency: 2,
			Keys:   []apisim.Key{{ID: "k1", Secret: "secret-1"}, {ID: "k2", Secret: "secret-2"}},
			Limits: []apisim.Limit{{Metric: apisim.Requests, Limit: 600, Per: time.Minute}},
		}},
		Latency: apisim.Latency{Min: 20 * time.Millisecond},
	}
	cfg := caller.Config{
		Name: profile.Name,
		Keys: []caller.Key{
			{ID: "k1", Secret: caller.NewSecret("secret-1"), Account: "org"},
			{ID: "k2", Secret: caller.NewSecret("secret-2"), Account: "org"},
		},
		Limits:      []caller.Limit{{Metric: caller.Requests, Rate: 600, Period: time.Minute}},
		Concurrency: 2,
		Profile:     profile,
		Retry:       retry.Policy{Attempts: 3, Base: 10 * time.Millisecond},
	}
	if change != nil {
		change(&cfg, &world)
	}
	b := &Bench{redis: miniredis.NewMiniRedis()}
	err := b.start(cfg, world)
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bench) start(cfg caller.Config, world apisim.Config) (err error) {
	if b.Sim, err = apisim.Start(world); err != nil {
		return err
	}
	if err := b.redis.Start(); err != nil {
		return err
	}
	b.rdb = redis.NewClient(&redis.Options{Addr: b.redis.Addr(), ContextTimeoutEnabled: true})
	b.Pool, err = caller.New(b.rdb, cfg)
	return err
}

// RedisURL returns the URL of the embedded Redis.
func (b *Bench) RedisURL() string { return "redis://" + b.redis.Addr() }

// Close closes the pool, which waits for the calls in flight, the provider and the Redis.
func (b *Bench) Close() error {
	var errs []error
	if b.Pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, b.Pool.Close(ctx))
	}
	if b.rdb != nil {
		errs = append(errs, b.rdb.Close())
	}
	if b.Sim != nil {
		errs = append(errs, b.Sim.Close())
	}
	b.redis.Close()
	return errors.Join(errs...)
}
