package caller

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Grant is what an admitted call gets: a key, a booking in its limits, a permit. Its methods are safe for concurrent use.
type Grant struct {
	Key     string // key ID
	Account string
	Attempt int // from 1
	// IdempotencyKey is the call's, the same for all its attempts; empty where none is wanted.
	IdempotencyKey string

	admission admission.Grant
	pool      *Pool
	secret    Secret
	model     string
	prompt    int64 // tokens that Estimate takes the prompt for, to learn from; 0: nothing is to be learned
	settled   atomic.Bool
	ctx       attemptContext
}

// acquire waits for admission and the send time. A key that is gone by then is declined, and another one asked for.
func (c *Pool) acquire(ctx context.Context, r admission.Request) (*Grant, error) {
	g := &Grant{pool: c}
	for {
		if err := c.admission.Acquire(ctx, r, &g.admission); err != nil {
			return nil, c.plan.refused(err, r.Units)
		}
		if secret, ok := c.keyring.secret(g.admission.Key()); ok {
			g.Key, g.Account, g.secret = g.admission.Key(), g.admission.Account(), secret
			return g, nil
		}
		g.admission.Decline()
		r.Retry = true
	}
}

// Secret returns the secret of the granted key.
func (g *Grant) Secret() string { return g.secret.Reveal() }

// release returns the permit. Only the first call counts.
func (g *Grant) release() { g.admission.Release() }

// Settle tells what the call really cost, where its answer says so and Do is used; Transport finds it by itself. For each
// metric in actual, what the estimate had too much may be used again by the fleet, and what it had too little is charged.
// So leave out what the provider doesn't give back. Only the first call of it counts.
func (g *Grant) Settle(actual Cost) {
	g.correct(actual, true, func(Metric, int64) bool { return true })
}

// settle corrects what was charged by what the call really cost, for the metrics that the provider corrects, too. Of an
// answer that isn't whole only what is above the estimate counts: the rest of the call's cost isn't known.
func (g *Grant) settle(actual Cost, whole bool) {
	g.correct(actual, whole, func(m Metric, difference int64) bool {
		return (whole || difference > 0) && slices.Contains(g.pool.plan.Profile.Settled, m)
	})
}

func (g *Grant) correct(actual Cost, whole bool, counts func(m Metric, difference int64) bool) {
	if g.settled.Swap(true) {
		return
	}
	p := g.pool.plan
	if whole {
		p.prompts.learn(g.model, g.prompt, actual[InputTokens])
	}
	units := g.admission.Units()
	var difference Cost
	var delta []int64
	for i, m := range p.metrics {
		n, ok := actual[m]
		d := min(max(n, 0), maxUnits) - units[i]
		if !ok || d == 0 || !counts(m, d) {
			continue
		}
		if difference == nil {
			difference, delta = Cost{}, make([]int64, len(units))
		}
		difference[m], delta[i] = d, d
	}
	if difference != nil {
		g.admission.Settle(delta)
	}
	if hook := p.Hooks.UsageRead; hook != nil {
		estimated := Cost{}
		for i, m := range p.metrics {
			estimated[m] = units[i]
		}
		hook(Usage{
			Key: g.Key, Account: g.Account, Model: g.model, Ratio: p.prompts.of(g.model),
			Estimated: estimated, Actual: actual, Settled: difference,
		})
	}
}
