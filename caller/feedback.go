package caller

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

const (
	// disabledFor is the time after which one call tries a disabled key or account.
	disabledFor = time.Hour
	// A 429 within the limit shows that another client uses the account. The limit then runs at throttledPace of its pace
	// and recovers linearly over ten periods, which converges on the unused share.
	throttledPace = 0.75
	// A provider that asks an account to slow down gets slowPace of its pace, which comes back linearly within slowFor.
	slowPace, slowFor = 0.5, time.Minute
)

// applyVerdict reports to all processes what a verdict means for the key and its account. latency is the attempt's.
func (c *Pool) applyVerdict(g *Grant, v Verdict, latency time.Duration) {
	f := admission.Feedback{Sample: sampleOf(v), Latency: latency}
	var observe func(Block)
	var block Block
	now := time.Now()
	switch v.Outcome {
	case Throttled:
		f.Works = true
		if v.Scope != ScopeProvider {
			block, observe = coolDown(g, v), c.settings.Hooks.CooledDown
			// While nothing is served, further 429s say no more about the share of other clients.
			if first := c.throttles.throttled(g.Account, now); first && !v.Concurrency {
				f.Pace = throttledPace
			}
		}
	case KeyRejected, OutOfCredit:
		block, observe = disable(g, v), c.settings.Hooks.Disabled
	case Overloaded:
		if v.Scope == ScopeAccount {
			f.Pace, f.Recover = slowPace, slowFor
		}
	case Success, ClientError:
		f.Works = true
		f.Calm = v.Outcome == Success && c.throttles.served(g.Account, now.Add(-latency))
	case Transient, Canceled: // they say nothing about the key
	}
	if block.For > 0 {
		f.Block = &admission.Block{
			Account: block.Account, Key: block.Key, For: block.For, Disabled: v.Outcome != Throttled, Reason: block.Reason,
		}
		if v.Outcome == Throttled && v.RetryAfter <= 0 {
			f.Block.Factor, f.Block.Most = cooldownGrowth(), maxCooldown
		}
	}
	g.admission.Feedback(f)
	if observe != nil {
		observe(block)
	}
}

// sampleOf returns what a verdict means for the adaptive limit.
func sampleOf(v Verdict) admission.Sample {
	switch {
	case v.Outcome == Success:
		return admission.Served
	case v.Outcome == Throttled, v.Outcome == Overloaded, v.Outcome == Transient && v.Reason == timedOut:
		return admission.Overloaded
	default:
		return admission.None
	}
}

// coolDown returns the cooldown of a throttled key, or of its account. Jitter of up to a tenth keeps the calls from coming
// back all at once.
func coolDown(g *Grant, v Verdict) Block {
	d := v.RetryAfter
	if d <= 0 {
		d = firstCooldown
	}
	return blockOf(g, v, d+rand.N(d/10+time.Millisecond))
}

// disable returns the block of a key, or of its account, that lasts until a call that tries it succeeds.
func disable(g *Grant, v Verdict) Block { return blockOf(g, v, max(v.RetryAfter, disabledFor)) }

func blockOf(g *Grant, v Verdict, d time.Duration) Block {
	b := Block{Account: g.Account, For: d, Reason: v.Reason}
	if v.Scope == ScopeKey {
		b.Key = g.Key
	}
	return b
}

// observe reports to all processes the quotas in a response's headers.
func (c *Pool) observe(g *Grant, res *http.Response) {
	if c.settings.Profile.Quotas == nil {
		return
	}
	quotas := c.settings.Profile.Quotas(res)
	if len(quotas) == 0 {
		return
	}
	c.applyQuotas(g, quotas)
	if hook := c.settings.Hooks.QuotaRead; hook != nil {
		hook(QuotaReport{Key: g.Key, Account: g.Account, Model: g.model, Quotas: quotas})
	}
}

// applyQuotas reports the quotas of metrics that limits count. An adaptive limit may begin at what is left of Requests.
func (c *Pool) applyQuotas(g *Grant, quotas []Quota) {
	var f admission.Feedback
	var few [8]admission.Quota
	f.Quotas = few[:0]
	for _, q := range quotas {
		if q.Metric == Requests && f.Initial == 0 {
			f.Initial = max(q.Remaining, 0)
		}
		if i := slices.Index(c.settings.metrics, q.Metric); i >= 0 {
			f.Quotas = append(f.Quotas, admission.Quota{Metric: i, Limit: q.Limit, Period: q.Period, Remaining: q.Remaining})
		}
	}
	g.admission.Feedback(f)
}
