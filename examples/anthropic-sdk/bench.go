package main

import (
	"context"
	"errors"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/retry"
)

// bench is a simulated provider, an embedded Redis, and a pool over both.
type bench struct {
	sim   *apisim.Server
	redis *miniredis.Miniredis
	rdb   *redis.Client
	pool  *caller.Caller
}

// newBench builds one; change may change what the pool and the provider are like.
func newBench(change func(*caller.Config, *apisim.Config)) (*bench, error) {
	world := apisim.Config{
		Accounts: []apisim.Account{{
			ID: "org", Concurrency: 2,
			Keys:   []apisim.Key{{ID: "k1", Secret: "secret-1"}, {ID: "k2", Secret: "secret-2"}},
			Limits: []apisim.Limit{{Metric: apisim.Requests, Limit: 600, Per: time.Minute}},
		}},
		Latency: apisim.Latency{Min: 20 * time.Millisecond},
	}
	cfg := caller.Config{
		Pool: "anthropic",
		Keys: []caller.Key{
			{ID: "k1", Secret: caller.NewSecret("secret-1"), Account: "org"},
			{ID: "k2", Secret: caller.NewSecret("secret-2"), Account: "org"},
		},
		Limits:      []caller.Limit{{Metric: caller.Requests, Limit: 600, Per: time.Minute}},
		Concurrency: 2,
		Profile:     provider.Anthropic(),
		Retry:       retry.Policy{Attempts: 3, Base: 10 * time.Millisecond},
	}
	if change != nil {
		change(&cfg, &world)
	}
	b := &bench{redis: miniredis.NewMiniRedis()}
	err := b.start(cfg, world)
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) start(cfg caller.Config, world apisim.Config) (err error) {
	if b.sim, err = apisim.Start(world); err != nil {
		return err
	}
	if err := b.redis.Start(); err != nil {
		return err
	}
	b.rdb = redis.NewClient(&redis.Options{Addr: b.redis.Addr(), ContextTimeoutEnabled: true})
	b.pool, err = caller.New(b.rdb, cfg)
	return err
}

// close ends everything. The pool waits for the calls in flight.
func (b *bench) close() error {
	var errs []error
	if b.pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, b.pool.Close(ctx))
	}
	if b.rdb != nil {
		errs = append(errs, b.rdb.Close())
	}
	if b.sim != nil {
		errs = append(errs, b.sim.Close())
	}
	b.redis.Close()
	return errors.Join(errs...)
}
