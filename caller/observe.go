package caller

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// observer returns the functions by which admission calls the hooks of the events that belong to no call.
func (c *Pool) observer() admission.Observer {
	ctx := context.Background()
	h := &c.settings.Hooks
	o := admission.Observer{LeaseLost: func(calls int, failure error) { c.leaseLost(ctx, calls, failure) }}
	if h.ScriptCalled != nil {
		o.ScriptCalled = func(s admission.ScriptCall) { h.ScriptCalled(ctx, ScriptCall(s)) }
	}
	if h.RedisFailed != nil {
		o.RedisFailed = func(err error) { h.RedisFailed(ctx, err) }
	}
	if h.RedisRecovered != nil {
		o.RedisRecovered = func() { h.RedisRecovered(ctx) }
	}
	if h.LimitsChanged != nil {
		o.LimitsChanged = func(change admission.LimitsChange) {
			out := LimitsChange{Version: change.Version, Err: change.Err}
			if r := c.settings.ruling(); r.version == change.Version {
				out.Limits = r.set
			}
			h.LimitsChanged(ctx, out)
		}
	}
	if h.StateLost != nil {
		o.StateLost = func(s admission.StateLoss) { h.StateLost(ctx, StateLoss(s)) }
	}
	if h.StateRestored != nil {
		o.StateRestored = func(s admission.StateLoss) { h.StateRestored(ctx, StateLoss(s)) }
	}
	return o
}

// leaseLost calls Hooks.LeaseLost. failure is why the session wasn't renewed; nil: the process was late.
func (c *Pool) leaseLost(ctx context.Context, calls int, failure error) {
	hook := c.settings.Hooks.LeaseLost
	if hook == nil {
		return
	}
	cause := fmt.Errorf("%w: the session wasn't renewed in time", ErrLeaseLost)
	if failure != nil {
		cause = fmt.Errorf("%w: %w", cause, failure)
	}
	hook(ctx, calls, cause)
}

// start counts a call and calls Hooks.CallStarted. It returns the context that the call goes on with.
func (k *call[T]) start(ctx context.Context, cost Cost) context.Context {
	k.pool.stats.call()
	if hook := k.pool.settings.Hooks.CallStarted; hook != nil {
		ctx = hook(ctx, CallStart{Model: k.opts.Model, Priority: k.opts.Priority, Cost: cost})
	}
	return ctx
}

// end counts the end of a call that began at a time, and calls Hooks.Refused and CallEnded.
func (k *call[T]) end(begun time.Time, err error) {
	c, last := k.pool, &k.last
	took := time.Since(begun)
	end := CallEnd{
		Model: k.opts.Model, Priority: k.opts.Priority, Key: last.Key, Account: last.Account, Attempts: k.sent,
		Outcome: last.Verdict.Outcome, Latency: took, Err: err,
	}
	if err != nil && last.Number == 0 {
		end.Refused = refusalReason(k.ctx, err)
		k.refused(end.Refused, err)
	}
	c.stats.end(took, err == nil, end.Refused)
	if hook := c.settings.Hooks.CallEnded; hook != nil {
		hook(k.ctx, end)
	}
}

// refused calls Hooks.Refused.
func (k *call[T]) refused(reason RefusalReason, err error) {
	k.pool.refused(k.ctx, Refusal{
		Reason: reason, Model: k.opts.Model, Priority: k.opts.Priority, Attempts: k.sent,
		Waited: k.took, WaitedFor: k.waitedFor, Err: err,
	})
}

// refused calls Hooks.Refused with what r.Err says.
func (c *Pool) refused(ctx context.Context, r Refusal) {
	hook := c.settings.Hooks.Refused
	if hook == nil {
		return
	}
	if e, ok := r.Err.(*Error); ok {
		r.Metric, r.Limit, r.Cost, r.RetryAfter = e.Metric, e.Limit, e.Cost, e.RetryAfter
	}
	hook(ctx, r)
}

// waited returns the waits of a grant, which may be one that acquire returned an error for.
func (c *Pool) waited(g *Grant) (time.Duration, Waits) {
	return c.waitsOf(&g.admission)
}

func (c *Pool) waitsOf(g *admission.Grant) (time.Duration, Waits) {
	whole, its := g.Waited()
	w := Waits{Rate: its.Rate, Permit: its.Permit, Cooldown: its.Cooldown}
	w.Redis = max(0, whole-w.Rate-w.Permit-w.Cooldown)
	if w.Rate > 0 && its.Limit != admission.NoLimit {
		w.Metric = c.settings.Limits[its.Limit].Metric
	}
	return whole, w
}

// admitted counts an admission and calls Hooks.Admitted.
func (c *Pool) admitted(ctx context.Context, g *Grant, o *Options, attempt int) {
	whole, its := c.waited(g)
	c.stats.admitted(whole, g.admission.Units())
	if hook := c.settings.Hooks.Admitted; hook != nil {
		hook(ctx, Admission{
			Key: g.Key, Account: g.Account, Model: o.Model, Priority: o.Priority, Attempt: attempt, Waited: whole, WaitedFor: its,
		})
	}
}

// attempted counts an attempt and calls Hooks.Attempted with the attempt's context.
func (c *Pool) attempted(ctx context.Context, a Attempt, retrying bool) {
	if a.Number == 0 {
		return
	}
	c.stats.attempt(&a)
	if hook := c.settings.Hooks.Attempted; hook != nil {
		a.Retrying = retrying
		hook(ctx, a)
	}
}

// observed returns the context for the hooks of the grant's attempt.
func (g *Grant) observed() context.Context {
	if g.ctx.Context == nil {
		return context.Background()
	}
	return &g.ctx
}
