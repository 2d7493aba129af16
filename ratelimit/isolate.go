package ratelimit

import (
	"slices"
	"time"
)

// A script call that Redis refuses because of one key or argument has changed nothing, and would fail every call of its
// batch. So the batch is sent again in two halves, and each half that is refused likewise, until the refused operation
// is alone. Its key is sent apart from others until it works.

const (
	// faultyFor is how long a refused key is sent apart after its last use.
	faultyFor = 10 * time.Second
	// maxFaulty is how many refused keys a shard keeps apart.
	maxFaulty = 1024
)

// operations returns the number of operations in the batch's script call.
func (b *batch) operations() int {
	n := len(b.adjust)
	for _, g := range b.groups {
		if g.sent() > 0 {
			n++
		}
	}
	return n
}

// isolate sends the operations of a refused batch in two halves, in their order. The halves have the answers.
func (b *batch) isolate(until time.Time) {
	n := (len(b.adjust) + len(b.groups)) / 2
	adjust := min(n, len(b.adjust))
	groups := n - adjust
	b.part(b.adjust[:adjust:adjust], b.groups[:groups:groups]).runPart(until)
	b.part(b.adjust[adjust:], b.groups[groups:]).runPart(until)
}

// part moves operations of the batch to a batch that is ready to be sent.
func (b *batch) part(adjust []adjustment, groups []*group) *batch {
	b.shard.mu.Lock()
	defer b.shard.mu.Unlock()
	p := &batch{
		shard: b.shard, node: b.node, tag: b.tag, ctx: b.ctx, whole: b, frozen: true, led: true,
		until: b.until, endless: b.endless, adjust: adjust, groups: groups,
	}
	if b.whole != nil {
		p.whole = b.whole
	}
	for i := range adjust {
		adjust[i].key = p.index(adjust[i].e)
	}
	for _, g := range groups {
		g.batch = p
		p.calls += g.sent()
		for i := range g.items {
			g.items[i].key = p.index(g.items[i].e)
		}
	}
	return p
}

// runPart sends a part, and isolates its refused operations.
func (b *batch) runPart(until time.Time) {
	sh := b.shard
	var x exchange
	if n := b.operations(); n > 0 {
		sh.mu.Lock()
		call := scriptCall{any: b.call(b.node.serverNow(), b.deadline(until))}
		sh.mu.Unlock()
		x = b.exchange(call, until)
		b.observe(x, x.err)
		if keyFault(x.err) && n > 1 {
			b.isolate(until)
			sh.mu.Lock()
			b.release()
			sh.mu.Unlock()
			return
		}
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b.settle(x, b.whole.ended)
	b.ended = true
	b.markFaulty(x.err)
}

// markFaulty records whether the batch's keys are to be sent apart. The caller holds sh.mu.
func (b *batch) markFaulty(err error) {
	sh := b.shard
	if !keyFault(err) {
		if err == nil && len(sh.faulty) > 0 {
			for _, e := range b.entries {
				delete(sh.faulty, e)
			}
		}
		return
	}
	now := time.Now()
	if sh.faulty == nil || len(sh.faulty)+len(b.entries) > maxFaulty {
		sh.faulty = map[*entry]time.Time{}
	}
	for _, e := range b.entries {
		sh.faulty[e] = now.Add(faultyFor)
	}
}

// isFaulty reports whether a call is to be sent apart, because of one of its keys.
func (sh *shard) isFaulty(items []item) bool {
	return slices.ContainsFunc(items, func(it item) bool {
		until, ok := sh.faulty[it.e]
		if ok && time.Now().After(until) {
			delete(sh.faulty, it.e)
			return false
		}
		return ok
	})
}
