package ratelimit

import (
	"sync"
	"time"
)

// runner is a goroutine that sends batches, so that a caller can leave while the script call is in flight. An idle
// runner is kept for a while, because a new goroutine first has to grow its stack, which takes longer than the handover.
type runner struct {
	pool *runners
	work chan *batch // capacity 1; closed to end the runner
	idle bool        // was idle at the last check; runners.mu guards it
}

// runners is the pool of idle runners of a Limiter.
type runners struct {
	mu    sync.Mutex
	idle  []*runner // the most recently used one is last
	timed bool      // a timer for dismiss is running
}

// runnerIdle is the shortest time that an idle runner is kept. The longest is twice that.
const runnerIdle = 20 * time.Millisecond

// start makes a runner send the batch.
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

// run is the runner's goroutine. It ends when dismiss closes work.
func (r *runner) run() {
	for b := range r.work {
		for b != nil {
			b = b.run(r)
		}
	}
}

// keep returns a runner to the pool. The runner then waits for work.
func (p *runners) keep(r *runner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.idle = false
	p.idle = append(p.idle, r)
	p.watch()
}

// watch schedules the next dismiss. The caller holds p.mu.
func (p *runners) watch() {
	if !p.timed && len(p.idle) > 0 {
		p.timed = true
		time.AfterFunc(runnerIdle, p.dismiss)
	}
}

// dismiss ends the runners that were idle at the last check, too.
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
