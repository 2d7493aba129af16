package caller

import (
	"context"
	"errors"

	"github.com/penstock/penstock/caller/internal/admission"
)

// follow works out in the background what admission would have done with an attempt that is sent now, and reports it.
func (k *call[T]) follow(ctx context.Context, g *Grant, spec attemptSpec) {
	c, opts, r := k.pool, k.opts, spec.request
	ctx = context.WithoutCancel(ctx)
	if k.neverFits != nil {
		c.wouldRefuse(ctx, k.neverFits, Refusal{Model: opts.Model, Priority: opts.Priority, Attempts: spec.number})
		return
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := spec.bounded.Deadline(); ok {
		waiting, cancel = context.WithDeadline(ctx, deadline)
	}
	if opts.MaxWait > 0 {
		bounded, end := context.WithTimeout(waiting, opts.MaxWait)
		outer := cancel
		waiting, cancel = bounded, func() { end(); outer() }
	}
	key, account := g.Key, g.Account
	c.shadow.Follow(waiting, r, &g.admission, func(its *admission.Grant, err error) {
		defer cancel()
		whole, parts := c.waitsOf(its)
		if errors.Is(err, admission.ErrClosed) {
			return
		}
		if err != nil {
			if _, ok := err.(*admission.Refusal); !ok && errors.Is(err, context.DeadlineExceeded) {
				err = &Error{Pool: c.settings.Name, Err: ErrDeadline}
			}
			c.wouldRefuse(ctx, c.settings.refused(err, r.Units), Refusal{
				Model: opts.Model, Priority: opts.Priority, Attempts: spec.number, Waited: whole, WaitedFor: parts,
			})
			return
		}
		c.stats.admitted(whole, its.Units())
		if hook := c.settings.Hooks.Admitted; hook != nil {
			hook(ctx, Admission{
				Key: key, Account: account, Model: opts.Model, Priority: opts.Priority, Attempt: spec.number,
				Waited: whole, WaitedFor: parts, Shadow: true,
			})
		}
	})
}

// wouldRefuse reports that an attempt which is sent would have been refused.
func (c *Pool) wouldRefuse(ctx context.Context, err error, r Refusal) {
	r.Reason, r.Err, r.Shadow = refusalReason(ctx, err), err, true
	c.stats.wouldRefuse(r.Reason)
	c.refused(ctx, r)
}
