package admission

import (
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"time"
)

// Shadow lets calls of a controller go at once, and finds out in the background what admission would have done with each:
// Pick gives a call a key in turn, and Follow admits it for the sake of the figures. Its methods are safe for concurrent use.
type Shadow struct {
	controller *Controller
	closing    context.Context
	close      context.CancelFunc
	following  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	accounts turns
	keys     turns
}

// NewShadow returns the Shadow of a controller. Close ends it before the controller is closed.
func NewShadow(c *Controller) *Shadow {
	s := &Shadow{controller: c, accounts: turns{}, keys: turns{}}
	s.closing, s.close = context.WithCancel(context.Background())
	return s
}

// Pick fills g with a key that the request may have: the first account's under FirstAvailable, else in turn, by weight. Calls
// of an affinity have the same account. If the request excludes all accounts, or none has its model, any account will do.
func (s *Shadow) Pick(r *Request, g *Grant) error {
	all := s.controller.Accounts()
	usable := func(excluded []string) []Account {
		var out []Account
		for _, a := range all {
			if len(a.Keys) > 0 && !slices.Contains(excluded, a.ID) && (len(a.Models) == 0 || r.Model == "" || Matches(a.Models, r.Model)) {
				out = append(out, a)
			}
		}
		return out
	}
	accounts := usable(r.Exclude)
	if len(accounts) == 0 {
		accounts = usable(nil)
	}
	if len(accounts) == 0 {
		accounts = slices.DeleteFunc(slices.Clone(all), func(a Account) bool { return len(a.Keys) == 0 })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &Refusal{Err: ErrClosed, Limit: NoLimit}
	}
	if len(accounts) == 0 {
		return &Refusal{Err: ErrNoKeys, Detail: "the pool has no key", Limit: NoLimit}
	}
	a := &accounts[s.account(accounts, r.Affinity)]
	k := s.keys.next(len(a.Keys), func(i int) (string, int) { return a.Keys[i].ID, a.Keys[i].Weight })
	*g = Grant{
		booking: booking{target: &target{account: &account{Account: *a}}, key: a.Keys[k].ID, units: r.Units},
		waits:   Waits{Limit: NoLimit}, shadow: &follower{over: make(chan struct{}), begun: time.Now()},
	}
	return nil
}

// account returns the index of the account that a call gets.
func (s *Shadow) account(accounts []Account, affinity string) int {
	if affinity != "" {
		score := func(a Account) uint64 { return mix(hash(affinity) ^ hash(a.ID)) }
		best := 0
		for i, a := range accounts {
			if score(a) > score(accounts[best]) {
				best = i
			}
		}
		return best
	}
	if s.controller.cfg.Strategy == FirstAvailable {
		return 0
	}
	return s.accounts.next(len(accounts), func(i int) (string, int) {
		a, weight := &accounts[i], accounts[i].Weight
		for _, k := range a.Keys {
			if a.Weight == 0 {
				weight = max(weight, k.Weight)
			}
		}
		return a.ID, weight
	})
}

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// Follow admits the call of g in the background until ctx ends, and calls report with the result: a grant that has the waits,
// and why the call would not have been admitted; ErrClosed says nothing about it. If the call would have been admitted, it
// then holds a permit for as long as it really took. Calls that begin after Close are not followed.
func (s *Shadow) Follow(ctx context.Context, r Request, g *Grant, report func(*Grant, error)) {
	f := g.shadow
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.following.Go(func() {
		var its Grant
		err := s.controller.acquire(ctx, &r, &its)
		report(&its, err)
		begun := time.Now()
		if err == nil {
			f.admit(&its)
			defer its.Release()
		}
		<-f.over
		if err == nil {
			_ = sleep(s.closing, f.took-time.Since(begun))
		}
	})
}

// Close lets no more calls go. Admissions in the background end when the controller is closed, after the calls that they are
// of.
func (s *Shadow) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.close()
}

// Wait waits until ctx ends for the calls in flight, after the controller has been closed.
func (s *Shadow) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() { // ends with the last call
		defer close(done)
		s.following.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// follower ties a call that goes on at once to its admission in the background. Safe for concurrent use.
type follower struct {
	begun time.Time
	over  chan struct{} // closed when the call is over
	took  time.Duration // set before over is closed

	mu    sync.Mutex
	grant *Grant  // of the admission; nil: there is none yet
	delta []int64 // of a settlement that came before
}

// end ends the call.
func (f *follower) end() {
	f.took = time.Since(f.begun)
	close(f.over)
}

// admit takes the grant of the admission, and settles what came before.
func (f *follower) admit(g *Grant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grant = g
	if f.delta != nil {
		_ = g.Settle(f.delta) // a correction that can't be true has no effect
	}
}

// settle settles now or when the call has been admitted.
func (f *follower) settle(delta []int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.grant == nil {
		f.delta = delta
		return nil
	}
	return f.grant.Settle(delta)
}

// turns are names that take turns by weight (smooth weighted round robin, as in nginx).
type turns map[string]int

// maxTurns bounds the names that are remembered.
const maxTurns = 10_000

// next returns the index of the next of n names.
func (t turns) next(n int, of func(i int) (name string, weight int)) int {
	if len(t) > maxTurns {
		clear(t)
	}
	best, total, most := 0, 0, 0
	for i := range n {
		name, weight := of(i)
		weight = max(weight, 1)
		total += weight
		t[name] += weight
		if i == 0 || t[name] > most {
			best, most = i, t[name]
		}
	}
	name, _ := of(best)
	t[name] -= total
	return best
}
