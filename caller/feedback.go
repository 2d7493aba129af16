package caller

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

const (
	// disabledFor is the time after which one call tries an account that was out of credit.
	disabledFor = time.Hour
	// A 429 within the limit shows that another client uses the account. The limit then runs at throttledPace of its pace
	// and recovers linearly over ten periods, which converges on the unused share.
	throttledPace = 0.75
	// A provider that asks an account to slow down gets slowPace of its pace, which comes back linearly within slowFor.
	slowPace, slowFor = 0.5, time.Minute
)

// applyVerdict reports to all processes what a verdict means for the key and its account. latency is the attempt's. It
// returns the verdict, which differs if the call itself is at fault, and whether another key or account may serve the call.
func (k *call[T]) applyVerdict(g *Grant, v Verdict, latency time.Duration) (verdict Verdict, elsewhere bool) {
	c := k.pool
	f := admission.Feedback{Sample: sampleOf(v), Latency: latency}
	now := time.Now()
	k.refusals.mu.Lock()
	defer k.refusals.mu.Unlock()
	elsewhere = true
	var block Block
	switch v.Outcome {
	case Throttled:
		f.Works = true
		block = k.throttled(g, v, &f, now)
	case KeyRejected:
		v, block, elsewhere = k.rejected(g, v, now)
		f.Works = v.Outcome == ClientError // it has shown nothing against the key
	case OutOfCredit:
		block = k.disabled(g, v, max(v.RetryAfter, disabledFor))
		elsewhere = k.leave(g)
	case Overloaded:
		if v.Scope == ScopeAccount {
			f.Pace, f.Recover = slowPace, slowFor
		}
	case Success:
		f.Works = true
		f.Calm = c.throttles.served(g.Account, now.Add(-latency))
		c.missing.served(g.Account, g.model)
		c.suspects.acquit(g.admission.Key())
		block = k.convicted()
	case ClientError:
		f.Works = true
		elsewhere = v.Elsewhere && k.goElsewhere(g, v, now)
	case Transient, Canceled, Pending: // they say nothing about the key
	}
	k.report(g, v, block, f)
	return v, elsewhere
}

// report gives admission the feedback of an attempt with a block, if that holds for a time, and calls its hook.
func (k *call[T]) report(g *Grant, v Verdict, block Block, f admission.Feedback) {
	if block.For <= 0 {
		g.admission.Feedback(f)
		return
	}
	hooks := &k.pool.settings.Hooks
	observe := hooks.Disabled
	b := admission.Block{Account: block.Account, For: block.For, Disabled: true, Reason: block.Reason}
	if block.Key != "" {
		b.Key = block.name
	}
	switch v.Outcome {
	case Throttled:
		b.Disabled, observe = false, hooks.CooledDown
		if v.ModelOnly && v.Scope == ScopeAccount {
			b.Model = g.model
		}
		if v.RetryAfter <= 0 {
			b.Factor, b.Most = cooldownGrowth(), maxCooldown
		}
	case KeyRejected, Success: // of another key that this one's success convicts
		b.Factor, b.Most = rejectionGrowth, k.pool.settings.Tuning.MaxRejection
	}
	f.Block = &b
	g.admission.Feedback(f)
	if observe != nil {
		observe(g.observed(), block)
	}
}

// throttled returns the block of a throttled key or account.
func (k *call[T]) throttled(g *Grant, v Verdict, f *admission.Feedback, now time.Time) Block {
	c := k.pool
	if v.Scope == ScopeProvider {
		return Block{}
	}
	// While nothing is served, further 429s say no more about the share of other clients.
	first := c.throttles.throttled(g.Account, now)
	if first && !v.Concurrency && (!v.ModelOnly || c.settings.countsModels(g.model)) {
		f.Pace = throttledPace
	}
	return coolDown(g, v)
}

// rejected judges a rejection of the key. A rejection of the account is one by a key, of which the first is blocked.
func (k *call[T]) rejected(g *Grant, v Verdict, now time.Time) (verdict Verdict, block Block, elsewhere bool) {
	c := k.pool
	if v.Scope != ScopeKey {
		return v, k.disabled(g, v, firstRejection), k.leave(g)
	}
	key := nameOf(g)
	if g.admission.Trial() || c.suspects.rejected(key.name, &k.refusals, now) { // another call was rejected, too
		return v, blockOf(g, v, firstRejection), k.leaveKey(g)
	}
	r := &k.refusals
	if slices.ContainsFunc(r.suspects, func(s keyName) bool { return s.name == key.name }) {
		return v, Block{}, k.leaveKey(g) // the call got the same key again, which is no second witness
	}
	r.suspects, r.reason = append(r.suspects, key), v.Reason
	if len(r.suspects) == 1 {
		return v, Block{}, k.leaveKey(g)
	}
	for _, s := range r.suspects { // the call is at fault
		c.suspects.acquit(s.name)
	}
	r.suspects = nil
	v.Outcome, v.Scope = ClientError, ScopeAccount
	return v, Block{}, false
}

// convicted returns the block of the key that rejected the call before another key served it.
func (k *call[T]) convicted() Block {
	r := &k.refusals
	if len(r.suspects) == 0 {
		return Block{}
	}
	key := r.suspects[0]
	r.suspects = nil
	k.pool.suspects.acquit(key.name)
	return Block{Key: key.id, Account: key.account, For: firstRejection, Reason: r.reason, name: key.name}
}

// disabled returns the block of an account, or nothing if the call has blocked another account for the same: one call
// blocks no second one.
func (k *call[T]) disabled(g *Grant, v Verdict, d time.Duration) Block {
	if !k.refusals.first(v.Outcome) && !g.admission.Trial() {
		return Block{}
	}
	return blockOf(g, v, d)
}

// leave excludes the grant's account from the call, and reports whether there is another one.
func (k *call[T]) leave(g *Grant) bool {
	k.refusals.exclude(g.Account)
	return len(k.refusals.accounts) < len(k.pool.admission.Accounts())
}

// leaveKey excludes the grant's key from the call, and reports whether there is another one.
func (k *call[T]) leaveKey(g *Grant) bool {
	r := &k.refusals
	r.keys = append(r.keys, nameOf(g))
	if len(r.keys) >= k.pool.keyring.size() {
		return false
	}
	of := 0
	for _, a := range k.pool.admission.Accounts() {
		if a.ID == g.Account {
			of = len(a.Keys)
		}
	}
	for _, its := range r.keys {
		if its.account == g.Account {
			of--
		}
	}
	if of <= 0 {
		r.exclude(g.Account)
	}
	return true
}

// goElsewhere is for a call that another account may be able to serve. It reports whether one is tried, which happens once.
func (k *call[T]) goElsewhere(g *Grant, v Verdict, now time.Time) bool {
	if v.ModelOnly && g.model != "" {
		k.pool.missing.add(g.Account, g.model, now)
	}
	if k.refusals.elsewhere {
		return false
	}
	k.refusals.elsewhere = true
	if !k.leave(g) {
		return false
	}
	_, left := k.pool.missing.exclude(g.model, k.pool.admission.Accounts, k.refusals.accounts, now)
	return left
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

func blockOf(g *Grant, v Verdict, d time.Duration) Block {
	b := Block{Account: g.Account, For: d, Reason: v.Reason}
	if v.Scope == ScopeKey {
		b.Key, b.name = g.Key, g.admission.Key()
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
		hook(g.observed(), QuotaReport{Key: g.Key, Account: g.Account, Model: g.model, Quotas: quotas})
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
