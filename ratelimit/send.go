package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// run sends the batch and distributes the answers. Either runner r or, with nil, the leading caller runs it. It returns
// the next batch to send. If there is none, it returns nil and r is kept.
func (b *batch) run(r *runner) *batch {
	b.linger()
	call, until := b.freeze()
	if call.empty() {
		return b.finish(r, exchange{}, false)
	}
	if t := b.shard.l.cfg.Timeout; t > 0 {
		watchdog := time.AfterFunc(t, b.abandon)
		defer watchdog.Stop()
	}
	x := b.exchange(call, until)
	if keyFault(x.err) && b.operations() > 1 {
		b.isolate(until)
		return b.finish(r, x, true)
	}
	return b.finish(r, x, false)
}

// exchange makes the script call.
func (b *batch) exchange(call scriptCall, until time.Time) exchange {
	ctx, cancel := b.context(until)
	defer cancel()
	l := b.shard.l
	l.nodes.load(ctx, b.entries[0].key)
	x := exchange{sent: true, from: time.Now()}
	x.reply, x.err = call.run(ctx, l.client)
	x.to = time.Now()
	switch {
	case x.err == nil:
		b.node.clock.Observe(x.from, x.to, x.reply.Now())
		b.findDeleted(ctx, x)
	case errors.Is(x.err, scripts.ErrLate):
		b.node.clock.Forget() // or every call could be late if Redis' clock was set forward
	default:
		x.gaveUp = b.gaveUp(x)
	}
	if l.cfg.Timeout > 0 && !x.gaveUp && errors.Is(x.err, context.DeadlineExceeded) {
		x.err = fmt.Errorf("%w: no reply within %v: %w", ErrUnavailable, l.cfg.Timeout, x.err)
	}
	return x
}

// gaveUp reports whether the script call failed because all its callers' contexts have ended.
func (b *batch) gaveUp(x exchange) bool {
	if errors.Is(x.err, context.Canceled) || b.ctx.Err() != nil && b.single() {
		return true
	}
	end := b.lastDeadline()
	return !end.IsZero() && !x.to.Before(end)
}

// context returns the context of the script call. While go-redis waits for a connection it obeys the context. While it
// reads, it obeys only the deadline, and only with Options.ContextTimeoutEnabled.
func (b *batch) context(until time.Time) (context.Context, context.CancelFunc) {
	switch {
	case b.ctx.Done() == nil && until.IsZero():
		return b.ctx, func() {}
	case b.single():
		return b.ctx, func() {} // no other call needs it
	case until.IsZero():
		return context.WithoutCancel(b.ctx), func() {}
	default:
		return context.WithDeadline(context.WithoutCancel(b.ctx), until)
	}
}

// single reports whether the batch is the one call that opened it, so that the call's own context may end it.
func (b *batch) single() bool {
	return len(b.groups) == 1 && b.oneGroup.n == 1 && b.calls == 1 && len(b.adjust) == 0 && b.shard.l.cfg.Timeout == 0
}

// scriptCall is a script call that is ready to be sent: one of its two fields, or neither if there is nothing to send.
type scriptCall struct {
	allow *scripts.GCRAAllow
	any   *scripts.GCRA
}

func (c scriptCall) empty() bool { return c == scriptCall{} }

func (c scriptCall) run(ctx context.Context, client scripts.Client) (scripts.GCRAReply, error) {
	if c.allow != nil {
		return c.allow.Run(ctx, client)
	}
	return c.any.Run(ctx, client)
}

// freeze closes the batch and encodes its script call. It also returns when the last caller leaves; zero: never.
func (b *batch) freeze() (scriptCall, time.Time) {
	sh := b.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.open == b {
		sh.open = nil
	}
	b.frozen = true
	b.adjust = sh.takeAdjustments(b)
	for i := range b.adjust {
		a := &b.adjust[i]
		a.key = b.index(a.e)
		if a.out != nil {
			a.cost = a.out.send(time.Since(sh.l.start))
		}
	}
	if b.calls == 0 && len(b.adjust) == 0 {
		return scriptCall{}, time.Time{}
	}
	now, until := b.node.serverNow(), b.givenUp()
	if len(b.adjust) == 0 && len(b.groups) == 1 && b.oneGroup.op == opAllow && len(b.oneGroup.items) == 1 {
		return scriptCall{allow: b.allow(now, b.deadline(until))}, until
	}
	return scriptCall{any: b.call(now, b.deadline(until))}, until
}

// known returns the state to send to Redis; zero if the limit is at rest.
func (e *entry) known(now float64) scripts.GCRAState {
	if e.state.TAT > now {
		return e.state
	}
	return scripts.GCRAState{}
}

// allow encodes a batch that is one group of opAllow on one limit.
func (b *batch) allow(now float64, deadline int64) *scripts.GCRAAllow {
	e, g := b.entries[0], &b.oneGroup
	b.allowCall = scripts.GCRAAllow{
		Key: e.key, Known: e.known(now), Deadline: deadline, Count: g.sent(), Limit: g.items[0].arg(),
	}
	return &b.allowCall
}

// call encodes any batch.
func (b *batch) call(now float64, deadline int64) *scripts.GCRA {
	keys := make([]string, len(b.entries))
	known := make([]scripts.GCRAState, len(b.entries))
	for i, e := range b.entries {
		keys[i], known[i] = e.key, e.known(now)
	}
	call := scripts.NewGCRA(keys, known, deadline, 8*len(b.adjust)+9*len(b.groups))
	for i := range b.adjust {
		b.adjust[i].encode(call)
	}
	for _, g := range b.groups {
		g.encode(call)
	}
	return call
}

// arg returns the limit as the script takes it.
func (it *item) arg() scripts.GCRALimit {
	return scripts.GCRALimit{
		Key: it.key, Interval: it.interval, Burst: int64(it.limit.Burst), Cost: int64(it.cost),
	}
}

// lastDeadline returns the time at which the last caller's context ends; zero: never.
func (b *batch) lastDeadline() time.Time {
	if b.endless || len(b.adjust) > 0 {
		return time.Time{}
	}
	return b.until
}

// givenUp returns the time after which no caller waits for the batch; zero: never.
func (b *batch) givenUp() time.Time {
	until := b.lastDeadline()
	if t := b.shard.l.cfg.Timeout; t > 0 {
		if end := time.Now().Add(t); until.IsZero() || end.Before(until) {
			until = end
		}
	}
	return until
}

// deadline converts until to Redis' clock. It returns 0 for no deadline, or before the first reply.
func (b *batch) deadline(until time.Time) int64 {
	if until.IsZero() {
		return 0
	}
	us, _ := b.node.clock.Server(until)
	return max(us, 0)
}

func (g *group) encode(call *scripts.GCRA) {
	n := g.sent()
	if n == 0 {
		return
	}
	var buf [4]scripts.GCRALimit
	limits := buf[:0]
	for i := range g.items {
		limits = append(limits, g.items[i].arg())
	}
	switch g.op {
	case opAllow:
		call.Allow(n, limits...)
	case opAtMost:
		call.AtMost(n, limits[0])
	case opReserve:
		call.Reserve(n, g.sentWaits(), limits...)
	}
}

// endOfTime is a wait, in microseconds, that exceeds every booking.
const endOfTime = 1 << 52

// sentWaits returns the longest waits of the calls that are sent; nil if none has a bound.
func (g *group) sentWaits() []int64 {
	if !g.short {
		return nil
	}
	waits := make([]int64, g.sent())
	gone := map[int]bool{}
	for _, i := range g.leftBefore {
		gone[i] = true
	}
	n := 0
	elapsed := time.Since(g.batch.shard.l.start)
	for i, latest := range g.bounds {
		if gone[i] {
			continue
		}
		waits[n] = endOfTime
		if latest != unbounded {
			waits[n] = latest.wait(elapsed).Microseconds()
		}
		n++
	}
	return waits
}
