package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/scripts"
)

const (
	// every is the time between two readings, as between two reports of a process.
	every = 10 * time.Second
	// leaseFor is longer than the time between readings and the longest delivery together.
	leaseFor = 30 * time.Second
	// stateKept is the time for which Redis keeps the state without a sender.
	stateKept = 24 * time.Hour
	// redisTimeout bounds each request to Redis.
	redisTimeout = 3 * time.Second
)

// Source is what an Alerter judges: a *caller.Pool or a *caller.Admin.
type Source interface {
	Fleet(ctx context.Context) (*caller.Fleet, error)
}

// Alerter is a replica's part in notifying people. See Run.
type Alerter struct {
	rdb     redis.UniversalClient
	pool    string
	source  Source
	cfg     Config
	session string
	every   time.Duration
	lease   time.Duration

	leads bool   // as of the last answer of Redis
	state *state // what Redis has, or is to get
	redis outage
}

// New returns an Alerter for the pool of a name, as in caller.Config, with the Redis of that pool. Run starts it.
func New(rdb redis.UniversalClient, pool string, source Source, cfg Config) (*Alerter, error) {
	complete, err := cfg.completed()
	switch {
	case rdb == nil || source == nil:
		return nil, errors.New("alert: New needs a Redis client and a pool")
	case pool == "":
		return nil, errors.New("alert: New needs the name of the pool")
	case err != nil:
		return nil, fmt.Errorf("alert: %w", err)
	}
	return &Alerter{
		rdb: rdb, pool: pool, source: source, cfg: complete, session: rand.Text(), every: every, lease: leaseFor,
	}, nil
}

// Run judges the pool every ten seconds, and notifies the receivers while this replica holds the lease, until ctx ends. Then
// it gives the lease back and returns the cause. Call it once.
func (a *Alerter) Run(ctx context.Context) error {
	ticker := time.NewTicker(a.every)
	defer ticker.Stop()
	defer a.leave(ctx)
	for {
		a.turn(ctx)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// turn renews the lease, judges the pool and notifies.
func (a *Alerter) turn(ctx context.Context) {
	stored, err := a.hold(ctx, "")
	if err != nil {
		if ctx.Err() == nil {
			a.redisAway(ctx, err)
		}
		return
	}
	a.redisBack(ctx)
	if stored != "" || a.state == nil { // else Redis has lost the state, and the sender restores it
		a.state = parseState(stored)
	}
	if !a.leads {
		return
	}
	fctx, cancel := context.WithTimeout(ctx, redisTimeout)
	fleet, err := a.source.Fleet(fctx)
	cancel()
	if err != nil {
		a.failed(ctx, fmt.Errorf("the pool can't be judged: %w", err))
		return
	}
	readings := judge(&a.cfg, fleet, time.Now(), a.state.baseline)
	a.state.advance(readings, a.receivers(), time.Now())
	if a.save(ctx) {
		a.deliver(ctx)
	}
}

// hold takes or renews the lease, stores the state if it isn't empty, and returns the stored one.
func (a *Alerter) hold(ctx context.Context, state string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	l := scripts.PoolLease{Session: a.session, For: a.lease, Kept: stateKept, State: state}
	leads, stored, err := scripts.LeadPoolAlerts(ctx, a.rdb, a.pool, l)
	if err == nil {
		a.leads = leads
	}
	return stored, err
}

// save stores the state, and reports whether this replica still leads.
func (a *Alerter) save(ctx context.Context) bool {
	_, err := a.hold(ctx, a.state.text())
	if err != nil {
		a.failed(ctx, fmt.Errorf("the state of alerts isn't stored: %w", err))
	}
	return err == nil && a.leads
}

// leave gives the lease back, so that another replica leads at once.
func (a *Alerter) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTimeout)
	defer cancel()
	if a.leads {
		_, _, _ = scripts.LeadPoolAlerts(ctx, a.rdb, a.pool, scripts.PoolLease{Session: a.session, Kept: stateKept})
	}
}

func (a *Alerter) receivers() []string {
	names := make([]string, 0, len(a.cfg.Receivers))
	for i := range a.cfg.Receivers {
		names = append(names, a.cfg.Receivers[i].Name)
	}
	return names
}

// deliver gives each receiver what it hasn't got, all at the same time, and records what they accept.
func (a *Alerter) deliver(ctx context.Context) {
	type result struct {
		name string
		ids  []string
		err  error
	}
	results := make(chan result)
	sent := 0
	for i := range a.cfg.Receivers {
		r := &a.cfg.Receivers[i]
		ids := a.state.due(r.Name)
		if len(ids) == 0 {
			continue
		}
		n := a.notification(ids)
		sent++
		go func() { results <- result{r.Name, ids, a.send(ctx, r, n)} }()
	}
	for range sent {
		r := <-results
		if r.err != nil {
			a.failed(ctx, r.err)
			continue
		}
		a.state.delivered(r.name, r.ids)
		a.save(ctx)
	}
}

// notification returns entries of the state for a receiver, those that fire first.
func (a *Alerter) notification(ids []string) *notification {
	n := &notification{pool: a.pool, url: a.cfg.URL, at: time.Now()}
	for _, id := range ids {
		its := a.state.Entries[id].alert(a.pool)
		its.Summary = a.cfg.clean(its.Summary)
		n.alerts = append(n.alerts, its)
	}
	slices.SortStableFunc(n.alerts, func(x, y Alert) int { return x.End.Compare(y.End) })
	return n
}

func (a *Alerter) failed(ctx context.Context, err error) {
	if a.cfg.Failed != nil && ctx.Err() == nil {
		a.cfg.Failed(ctx, err)
	}
}
