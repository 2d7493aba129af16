package caller

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Grant is what an admitted call has: a key, a booking in its limits, a permit. Its methods are safe for concurrent use.
type Grant struct {
	Key     string // key ID
	Account string
	Attempt int    // from 1
	Model   string // name of the call's model in the account; empty: unknown
	BaseURL string // of the account; empty: it has none
	// IdempotencyKey is the same for all attempts of a call. Empty if the call has none.
	IdempotencyKey string

	admission admission.Grant
	pool      *Pool
	key       *Key
	model     string
	prompt    int64     // tokens of the prompt by Profile.Estimate, for the calibration; 0: the calibration doesn't use the call
	begun     time.Time // when the attempt was sent; zero: it wasn't
	byLength  bool      // the request was too long to be read, and its length was charged
	settled   atomic.Bool
	ctx       attemptContext
	method    string // of the request that was sent, and its host; empty for Do
	host      string
	kind      string // what the call asks for, if its duration is to be recorded when its response has been read
}

// acquire waits for admission and the send time. If the key is gone by then, it declines the key and asks again. With an
// error it returns a grant that has only the waits.
func (c *Pool) acquire(ctx context.Context, r admission.Request) (*Grant, error) {
	g := &Grant{pool: c}
	for {
		if err := c.admit(ctx, &r, &g.admission); err != nil {
			return g, c.settings.refused(err, r.Units)
		}
		if k := c.keyring.find(g.admission.Key()); k != nil {
			g.Key, g.Account, g.key = k.ID, g.admission.Account(), k
			return g, nil
		}
		g.admission.Decline()
		r.Retry = true
	}
}

// admit waits for admission, or lets the call go at once if the pool is a shadow.
func (c *Pool) admit(ctx context.Context, r *admission.Request, g *admission.Grant) error {
	if c.shadow != nil {
		return c.shadow.Pick(r, g)
	}
	return c.admission.Acquire(ctx, *r, g)
}

// Secret returns the secret of the granted key. It is empty for a key that has Authorize alone.
func (g *Grant) Secret() string { return g.key.Secret.Reveal() }

// site returns where the account's calls are sent; nil: as their requests say.
func (g *Grant) site() *site { return g.pool.settings.sites[g.Account] }

// setModel sets the call's model, and what the account says of it.
func (g *Grant) setModel(model string) {
	where := g.site()
	g.model = model
	g.Model, _ = where.model(model)
	if where != nil && where.base != nil {
		g.BaseURL = where.base.String()
	}
}

// release returns the permit. Only its first call has an effect.
func (g *Grant) release() {
	if !g.admission.Release() || g.begun.IsZero() {
		return
	}
	if hook := g.pool.settings.Hooks.Released; hook != nil {
		hook(g.observed(), Release{Key: g.Key, Account: g.Account, Model: g.model, Held: time.Since(g.begun)})
	}
}

// Settle corrects the units that the call was charged to what it really cost, for each metric in actual: an excess is
// refunded to all processes, a shortfall is charged. Leave out metrics that the provider doesn't correct itself. Only the
// first call of Settle has an effect. It is for functions of Do; Transport settles by Profile.Usage.
//
// A cost that can't be true is an error that matches ErrSettlement, and corrects nothing: less than 0, or more than the
// charge by over twice a limit.
func (g *Grant) Settle(actual Cost) error {
	return g.correct(actual, false, func(Metric, int64) bool { return true })
}

// settle corrects the charged units for the metrics that the provider corrects, too. If the usage isn't final, only a
// shortfall counts, because the rest of the call's cost is unknown.
func (g *Grant) settle(u readUsage) {
	// Usage that can't be true corrects nothing. Hooks.UsageRead shows what the response says.
	_ = g.correct(u.cost, u.partial, func(m Metric, difference int64) bool {
		return (u.final || difference > 0) && slices.Contains(g.pool.settings.Profile.Settled, m)
	})
}

// correct settles the differences that count, and calls Hooks.UsageRead.
func (g *Grant) correct(actual Cost, partial bool, counts func(m Metric, difference int64) bool) error {
	if g.settled.Swap(true) {
		return nil
	}
	p := g.pool.settings
	if !partial {
		p.ratios.Add(g.model, g.prompt, actual[InputTokens])
	}
	units := g.admission.Units()
	var difference Cost
	var delta []int64
	for i, m := range p.metrics {
		n, ok := actual[m]
		d := min(max(n, -maxUnits), maxUnits) - units[i]
		if !ok || d == 0 || !counts(m, d) {
			continue
		}
		if difference == nil {
			difference, delta = Cost{}, make([]int64, len(units))
		}
		difference[m], delta[i] = d, d
	}
	var err error
	if difference != nil {
		if err = g.admission.Settle(delta); err != nil {
			difference = nil
		}
	}
	g.pool.stats.used(actual, !partial)
	if hook := p.Hooks.UsageRead; hook != nil {
		estimated := Cost{}
		for i, m := range p.metrics {
			estimated[m] = units[i]
		}
		hook(g.observed(), Usage{
			Key: g.Key, Account: g.Account, Model: g.model, Ratio: p.ratios.Of(g.model),
			Estimated: estimated, Actual: actual, Settled: difference, Partial: partial, ByLength: g.byLength,
		})
	}
	return err
}
