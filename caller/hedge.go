package caller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Hedge sends a second request where the first is slow, and takes the answer that is there first: against the slowest
// few per cent, at the price of as many requests. It is off unless After is set. Only calls that may be carried out
// twice are hedged; the second goes to another account, or not at all, is charged like any other, takes one from the
// retry budget if there is one, and has the number of the attempt that it belongs to. The one that comes second is
// cancelled, and its permit given back.
type Hedge struct {
	// After is how long the first is waited for; best what 95 % of the calls are faster than. Defaults to 0: no hedging.
	After time.Duration
	// Percentile makes the wait the one that this share of the latest calls of this process, for the same model and
	// endpoint, were answered within, where that is longer than After: 0.95 hedges about one call in twenty, or
	// one in twelve where slow calls are very much slower. From 64 answers on; until then After counts. At least 0.5,
	// less than 1. Defaults to 0: After alone.
	Percentile float64
}

func (h Hedge) check() error {
	if h.After < 0 {
		return fmt.Errorf("Hedge.After is %v: use more than 0, or 0 for no hedging", h.After)
	}
	if p := h.Percentile; p != 0 && !(p >= 0.5 && p < 1) {
		return fmt.Errorf("Hedge.Percentile is %v: use 0.5 to less than 1, such as 0.95, or 0 for After alone", p)
	}
	if h.Percentile != 0 && h.After == 0 {
		return errors.New("Hedge.Percentile is set without After: set After, too, the shortest time to wait")
	}
	return nil
}

var errOvertaken = errors.New("another request for the same call was answered first")

// made is what became of one attempt.
type made[T any] struct {
	value    T
	err      error   // says whether to try again
	last     Attempt // Number is 0 where no key was granted
	panicked any
	from     int // which request of a race
}

// course is how one attempt is to be made.
type course struct {
	ctx     context.Context // the attempt's; an answer is read in it
	bounded context.Context // for admission
	number  int
	request admission.Request
	begun   func(*Grant) // called before sending. Optional
	end     func()       // called when the attempt is over and its answer read. Optional
}

// race is an attempt of which one request or two are under way.
type race[T any] struct {
	caller  *Pool
	once    func(course) made[T]
	discard func(T)
	name    string       // of calls that are alike
	results chan made[T] // holds both, so that nobody waits to hand one in
	cancels []context.CancelCauseFunc

	mu   sync.Mutex
	over bool
}

// hedged makes an attempt of one request, or two if the first is slow.
func hedged[T any](c *Pool, opts Options, at course, once func(course) made[T], discard func(T)) made[T] {
	r := &race[T]{caller: c, once: once, discard: discard, results: make(chan made[T], 2)}
	r.name = c.latencies.name(opts.Model, opts.endpoint)
	sent := make(chan string, 1)
	r.start(at, func(g *Grant) { sent <- g.Account })
	winner := -1
	defer func() { r.finish(winner) }()
	var slow <-chan time.Time
	var first string // the account
	var failed *made[T]
	for pending := 1; ; {
		select {
		case first = <-sent:
			timer := time.NewTimer(c.hedgeWait(r.name))
			defer timer.Stop()
			slow = timer.C
		case <-slow:
			if b := c.plan.Retry.Budget; b == nil || b.Retry() {
				at.request.Retry, at.request.Affinity, at.request.Exclude = true, "", []string{first}
				r.start(at, nil)
				pending++
			}
		case m := <-r.results:
			pending--
			if m.panicked != nil {
				panic(m.panicked) //nolint:forbidigo // the call's own
			}
			if failed != nil && m.err != nil && m.last.Number == 0 {
				return *failed // the provider's word is worth more than that of admission
			}
			if failed != nil {
				r.replaced(*failed)
			}
			if m.err == nil || pending == 0 {
				winner = m.from
				return m
			}
			failed = &m
		}
	}
}

// start sends a request. It ends with the attempt, which a lost race cancels.
func (r *race[T]) start(at course, begun func(*Grant)) {
	own, cancel := context.WithCancelCause(at.ctx)
	wait, leave := context.WithCancelCause(at.bounded)
	from := len(r.cancels)
	r.cancels = append(r.cancels, func(err error) {
		cancel(err)
		leave(err)
	})
	at.ctx, at.bounded, at.begun, at.end = own, wait, begun, func() { cancel(nil) }
	go func() {
		m := made[T]{from: from}
		defer func() {
			m.panicked = recover()
			leave(nil)
			if m.last.Number == 0 {
				cancel(nil)
			}
			r.hand(m)
		}()
		m = r.once(at)
		r.caller.timed(r.name, m.last, from == 0)
		m.from = from
	}()
}

// hand gives a result to whoever waits for it, or away.
func (r *race[T]) hand(m made[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.results <- m
		return
	}
	r.replaced(m)
}

// finish ends a race. Who didn't win is cancelled, and its result, now or later, given away.
func (r *race[T]) finish(winner int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	for i, cancel := range r.cancels {
		if i != winner {
			cancel(errOvertaken)
		}
	}
	for len(r.results) > 0 {
		r.replaced(<-r.results)
	}
}

// replaced takes in a result that isn't the attempt's.
func (r *race[T]) replaced(m made[T]) {
	if m.last.Number > 0 {
		r.discard(m.value)
		r.caller.attempted(m.last, true)
	}
}
