package prom

import (
	"context"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

// outcomeNames are the label's values.
var outcomeNames = func() (all [caller.Pending + 2]string) {
	for i := range all {
		all[i] = strings.ReplaceAll(caller.Outcome(i).String(), " ", "_")
	}
	return all
}()

func outcomeName(o caller.Outcome) string {
	return outcomeNames[min(max(o, 0), caller.Outcome(len(outcomeNames)-1))]
}

// hooks returns the hooks that count.
func (p *pool) hooks() caller.Hooks {
	r := &p.redis
	return caller.Hooks{
		Opened: p.opened, Closed: p.close,
		CallEnded: p.callEnded, Refused: p.refused, Admitted: p.admitted, Attempted: p.onAttempt, Released: p.released,
		UsageRead: p.usageRead, CooledDown: p.cooledDown, Disabled: p.onDisabled,
		CircuitOpened: func(_ context.Context, c caller.Circuit) {
			p.m.families.circuits.with(values{labelPool: p.name, LabelKey: p.m.keys.bound(c.Key)}).Inc()
		},
		KeysFailed: func(context.Context, error) { r.keys.Inc() },
		LeaseLost:  func(_ context.Context, n int, _ error) { r.leases.Add(float64(n)) },
		ScriptCalled: func(_ context.Context, s caller.ScriptCall) {
			r.calls.Inc()
			if s.Err != nil {
				r.errors.Inc()
			}
			r.duration.Observe(s.RoundTrip.Seconds())
			r.batch.Observe(float64(s.Asked))
		},
		StateLost:     func(context.Context, caller.StateLoss) { r.losses.Inc() },
		StateRestored: func(_ context.Context, s caller.StateLoss) { r.put.Add(float64(s.Restored)) },
	}
}

func priorityIndex(p caller.Priority) int {
	return min(max(int(p-caller.PriorityLow), 0), priorities-1)
}

func (p *pool) callEnded(_ context.Context, e caller.CallEnd) {
	key := endKey{p.m.models.bound(e.Model), priorityIndex(e.Priority), outcomeOf(&e)}
	s, ok := p.ended.get(key)
	if !ok {
		v := values{labelPool: p.name, LabelModel: key.model, LabelPriority: priorityNames[key.priority], labelOutcome: key.outcome}
		s = p.ended.set(key, endSeries{p.m.families.calls.with(v), p.m.families.callDuration.with(v)})
	}
	s.calls.Inc()
	s.duration.Observe(e.Latency.Seconds())
}

// outcomeOf returns the outcome of a call, as a label.
func outcomeOf(e *caller.CallEnd) string {
	switch {
	case e.Err == nil:
		return outcomeNames[caller.Success]
	case e.Refused != caller.NotRefused:
		return "refused"
	case e.Outcome == caller.Success: // the call's function failed all the same, or its context ended
		return outcomeNames[caller.Canceled]
	default:
		return outcomeName(e.Outcome)
	}
}

func (p *pool) refused(_ context.Context, r caller.Refusal) {
	p.m.families.refusals.with(values{
		labelPool: p.name, LabelPriority: priorityNames[priorityIndex(r.Priority)], labelReason: r.Reason.String(),
	}).Inc()
}

func (p *pool) admitted(_ context.Context, a caller.Admission) {
	s := &p.waits[priorityIndex(a.Priority)]
	s.whole.Observe(a.Waited.Seconds())
	w := &a.WaitedFor
	for i, d := range [len(reasons)]time.Duration{w.Rate, w.Permit, w.Cooldown, w.Redis} {
		if d > 0 {
			s.parts[i].Observe(d.Seconds())
		}
	}
}

func (p *pool) onAttempt(_ context.Context, a caller.Attempt) {
	key := attemptKey{a.Account, a.Key, p.m.models.bound(a.Model), a.Verdict.Outcome}
	s, ok := p.attempted.get(key)
	if !ok {
		f := p.m.families
		v := values{
			labelPool: p.name, LabelAccount: p.m.accounts.bound(a.Account), LabelKey: p.m.keys.bound(a.Key), LabelModel: key.model,
			labelOutcome: outcomeName(key.outcome),
		}
		s = p.attempted.set(key, attemptSeries{f.attempts.with(v), f.retries.with(v), f.attemptDuration.with(v)})
	}
	s.attempts.Inc()
	s.duration.Observe(a.Latency.Seconds())
	if a.Retrying {
		s.retries.Inc()
	}
}

func (p *pool) released(_ context.Context, r caller.Release) {
	key := heldKey{r.Account, p.m.models.bound(r.Model)}
	s, ok := p.held.get(key)
	if !ok {
		s = p.held.set(key, p.m.families.attemptHeld.with(values{
			labelPool: p.name, LabelAccount: p.m.accounts.bound(key.account), LabelModel: key.model,
		}))
	}
	s.Observe(r.Held.Seconds())
}

func (p *pool) usageRead(_ context.Context, u caller.Usage) {
	model := p.m.models.bound(u.Model)
	for metric, n := range u.Estimated {
		p.units(&u, model, metric).estimated.Add(float64(max(n, 0)))
	}
	for metric, n := range u.Actual {
		s := p.units(&u, model, metric)
		s.used.Add(float64(max(n, 0)))
		if u.Partial {
			s.partial.Add(float64(max(n, 0)))
		}
	}
}

func (p *pool) units(u *caller.Usage, model string, metric caller.Metric) usageSeries {
	key := usageKey{u.Account, u.Key, model, caller.Metric(p.m.units.bound(string(metric)))}
	s, ok := p.usage.get(key)
	if !ok {
		f := p.m.families
		v := values{
			labelPool: p.name, LabelAccount: p.m.accounts.bound(key.account), LabelKey: p.m.keys.bound(key.key), LabelModel: model,
			labelMetric: string(key.metric),
		}
		s = p.usage.set(key, usageSeries{f.estimated.with(v), f.used.with(v), f.partial.with(v)})
	}
	return s
}

func (p *pool) cooledDown(_ context.Context, b caller.Block) {
	p.m.families.cooldowns.with(p.block(&b)).Inc()
}
func (p *pool) onDisabled(_ context.Context, b caller.Block) {
	p.m.families.disabled.with(p.block(&b)).Inc()
}

func (p *pool) block(b *caller.Block) values {
	return values{labelPool: p.name, LabelAccount: p.m.accounts.bound(b.Account), LabelKey: p.m.keys.bound(b.Key)}
}
