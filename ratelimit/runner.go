package ratelimit

import (
	"sync"
	"time"
)

// runner is a goroutine that sends batches and waits for Redis in place of callers, who may leave at any time. It is
// kept for a moment after its last batch: a new goroutine would first have to grow its stack, which takes longer than
// the hand-over.
type runner struct {
	pool *runners
	work chan *batch // holds one; closed when the runner is no longer kept
	idle bool        // it has been idle since the last look; the pool's lock guards it
}

// runners keeps the idle runners of a Limiter.
type runners struct {
	mu    sync.Mutex
	idle  []*runner // the one that was used last comes last
	timed bool      // a timer will call dismiss
}

// runnerIdle is how long an idle runner is kept at least; twice of it is the most.
const runnerIdle = 20 * time.Millisecond

// start has a runner send the batch.
func (p *runners) start(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		r := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		r.work <- b
		return
	}
	r := &runner{pool: p, work: make(chan *batch, 1)}
	r.work <- b
	go r.run()
}

// run is the runner's goroutine: it ends when dismiss closes work.
func (r *runner) run() {
	for b := range r.work {
		for b != nil {
			b = b.run(r)
		}
	}
}

// keep takes back a runner that has sent its batch and is about to wait for another.
func (p *runners) keep(r *runner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.idle = false
	p.idle = append(p.idle, r)
	p.watch()
}

// watch sees to it that idle runners end. The caller holds p.mu.
func (p *runners) watch() {
	if !p.timed && len(p.idle) > 0 {
		p.timed = true
		time.AfterFunc(runnerIdle, p.dismiss)
	}
}

// dismiss ends the runners that have been idle since it was last called.
func (p *runners) dismiss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timed = false
	kept := p.idle[:0]
	for _, r := range p.idle {
		if r.idle {
			close(r.work)
			continue
		}
		r.idle = true
		kept = append(kept, r)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.watch()
}
