package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/examples/internal/report"
	"github.com/penstock/penstock/examples/internal/store"
	"github.com/penstock/penstock/internal/apisim"
)

const replicas = 3

// demo has the parts of the program: the Redis, the provider and the replicas.
type demo struct {
	store    *store.Store
	sim      *apisim.Server
	requests []request
	fleet    []*replica
	config   caller.Config
	tally    *report.Tally
	elapsed  time.Duration

	succeeded, failed atomic.Int64
	mu                sync.Mutex
	first             error // the first error of a request
}

func newDemo(ctx context.Context, redisURL string) (_ *demo, err error) {
	d := new(demo)
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.requests, err = readRequests(); err != nil {
		return nil, err
	}
	if d.store, err = store.Open(ctx, redisURL); err != nil {
		return nil, err
	}
	if d.sim, err = startProvider(len(d.requests)); err != nil {
		return nil, err
	}
	if d.config, err = poolConfig(); err != nil {
		return nil, err
	}
	d.tally = report.NewTally(d.config.Keys)
	d.config.Hooks = d.tally.Hooks()
	for i := range replicas {
		r, err := newReplica(fmt.Sprintf("replica-%d", i+1), d)
		if err != nil {
			return nil, err
		}
		d.fleet = append(d.fleet, r)
	}
	return d, nil
}

// poolConfig is the same for every replica.
func poolConfig() (caller.Config, error) {
	profile, err := provider.ByName("openai")
	if err != nil {
		return caller.Config{}, err
	}
	cfg := caller.Config{
		Name:    "quickstart-" + rand.Text(), // new for each run, because the Redis may outlive it
		Profile: profile,
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: requestLimit, Period: period},
			{Metric: caller.Tokens, Rate: tokenLimit, Period: period},
		},
		Concurrency: concurrency,
	}
	for _, k := range keys {
		cfg.Keys = append(cfg.Keys, caller.Key{ID: k.id, Secret: caller.NewSecret(k.secret), Account: k.account})
	}
	return cfg, nil
}

// run sends the requests, an equal part by each replica.
func (d *demo) run(ctx context.Context) {
	start := time.Now()
	var all sync.WaitGroup
	for i, r := range d.fleet {
		all.Go(func() {
			share := func(yield func(request, error) bool) {
				for n := i; n < len(d.requests) && yield(d.requests[n], nil); n += len(d.fleet) {
				}
			}
			if err := r.run(ctx, share); err != nil {
				d.note(err)
			}
		})
	}
	all.Wait()
	d.elapsed = time.Since(start)
}

// ended counts a request's end.
func (d *demo) ended(err error) {
	if err == nil {
		d.succeeded.Add(1)
		return
	}
	d.failed.Add(1)
	d.note(err)
}

func (d *demo) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == nil {
		d.first = err
	}
}

func (d *demo) firstError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first
}

func (d *demo) sample() report.Sample {
	s := report.Sample{Failed: d.failed.Load(), Retries: d.tally.Retries()}
	s.Done = s.Failed + d.succeeded.Load()
	return s
}

func (d *demo) summary() *report.Summary {
	s := d.tally.Summarize(d.config, d.elapsed)
	s.Requests, s.Succeeded, s.Failed = int64(len(d.requests)), d.succeeded.Load(), d.failed.Load()
	for _, r := range d.fleet {
		s.Missed += r.caller.Stats().SlotsMissed
	}
	return &s
}

func (d *demo) close() error {
	var errs []error
	for _, r := range slices.Backward(d.fleet) {
		errs = append(errs, r.close())
	}
	if d.sim != nil {
		errs = append(errs, d.sim.Close())
	}
	if d.store != nil {
		d.store.Close()
	}
	return errors.Join(errs...)
}

// introduce writes what the program does.
func (d *demo) introduce(w io.Writer) {
	where := "the given one"
	if d.store.Embedded() {
		where = "embedded"
	}
	fmt.Fprintf(w, `%s requests · %d replicas · 4 keys in 2 accounts · Redis: %s
Each account allows %s requests and %s tokens in any %v, and %d calls in flight.
On the way 2 %% of the answers are 503, and key %s is revoked.

`, report.Count(int64(len(d.requests))), replicas, where, report.Count(requestLimit), report.Count(tokenLimit), period,
		concurrency, revokedKey)
}

// witness writes the provider's own counts.
func (d *demo) witness(w io.Writer) {
	l := d.sim.Ledger()
	rows := [][]string{
		{"429s sent", report.Count(l.Throttled())},
		{"answered twice, not because of a 503", report.Count(l.UnexplainedTwice)},
	}
	for _, a := range l.Accounts {
		for _, limit := range a.Limits {
			rows = append(rows, []string{
				fmt.Sprintf("most %s of %s within %v", limit.Metric, a.ID, limit.Per),
				fmt.Sprintf("%s of %s", report.Count(limit.Peak), report.Count(limit.Limit)),
			})
		}
		rows = append(rows, []string{"most calls in flight of " + a.ID, fmt.Sprintf("%d of %d", a.MostInFlight, concurrency)})
	}
	report.Section(w, "What the provider saw, by a count of its own", "<>", rows)
}
