package ratelimit_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
)

// held is a Limiter whose first script call is in flight until release.
type held struct {
	*ratelimit.Limiter
	scripts *redistest.Rule // counts the script calls
	first   *redistest.Rule
	wg      sync.WaitGroup
}

var anyScript = redistest.Contains("evalsha")

func hold(t *testing.T, cfg ratelimit.Config) *held {
	t.Helper()
	faults := redistest.NewFaults(t)
	rdb := faults.Client(t, redistest.Client(t).Options())
	l, err := ratelimit.New(rdb, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Peek(t.Context(), "warm", ratelimit.PerHour(1)); err != nil { // caches the scripts
		t.Fatal(err)
	}
	if _, err := l.Admit(t.Context(), ratelimit.Charge{Key: "warm", Limit: ratelimit.PerHour(1)},
		ratelimit.Charge{Key: "warmer", Limit: ratelimit.PerHour(1)}); err != nil {
		t.Fatal(err)
	}
	h := &held{Limiter: l, scripts: faults.Count(anyScript)}
	h.first = faults.HoldReply(redistest.Nth(1, anyScript))
	h.wg.Go(func() { _, _ = l.Peek(context.Background(), "first", ratelimit.PerHour(1)) })
	h.first.Wait(t, 1)
	return h
}

// join starts a call and returns when the call is in the open batch.
func (h *held) join(call func()) {
	n := h.Gathering("first")
	h.wg.Go(call)
	for h.Gathering("first") == n {
		runtime.Gosched()
	}
}

func (h *held) release() {
	h.first.Release()
	h.wg.Wait()
}

// TestBatch_AnswersInOrder checks that calls that arrive while a script call is in flight share the next one, and get the
// answers of calls made one by one.
func TestBatch_AnswersInOrder(t *testing.T) {
	h := hold(t, ratelimit.Config{})
	small, large := ratelimit.PerHour(5), ratelimit.PerHour(100)
	rnd := rand.New(rand.NewPCG(1, 2))
	type answer struct {
		key           string
		limit         ratelimit.Limit
		cost          int
		atMost, multi bool
		res           *ratelimit.Result
		admission     *ratelimit.Admission
		err           error
	}
	var answers []*answer
	for range 60 {
		a := &answer{key: "small", limit: small, cost: 1 + rnd.IntN(2)}
		if rnd.IntN(2) == 0 {
			a.key, a.limit = "large", large
		}
		a.atMost, a.multi = rnd.IntN(4) == 0, rnd.IntN(4) == 0
		answers = append(answers, a)
		h.join(func() {
			switch {
			case a.multi:
				a.admission, a.err = h.Admit(t.Context(), ratelimit.Charge{Key: "small", Limit: small, Cost: a.cost},
					ratelimit.Charge{Key: "large", Limit: large, Cost: 1})
			case a.atMost:
				a.res, a.err = h.AllowAtMost(t.Context(), a.key, a.limit, a.cost)
			default:
				a.res, a.err = h.AllowN(t.Context(), a.key, a.limit, a.cost)
			}
		})
	}
	h.release()
	if n := h.scripts.Hits(); n != 2 {
		t.Errorf("%d script calls, want 2", n)
	}
	left := map[string]int{"small": 5, "large": 100}
	for i, a := range answers {
		if a.err != nil {
			t.Fatal(a.err)
		}
		if a.multi {
			want := left["small"] >= a.cost && left["large"] >= 1
			if want {
				left["small"] -= a.cost
				left["large"]--
			}
			if a.admission.Allowed != want {
				t.Fatalf("call %d: %+v, want allowed %v", i, a.admission, want)
			}
			continue
		}
		want := a.cost
		if left[a.key] < a.cost {
			want = 0
			if a.atMost {
				want = left[a.key]
			}
		}
		left[a.key] -= want
		remaining := left[a.key]
		if want == 0 {
			remaining = 0
		}
		if a.res.Allowed != want || a.res.Remaining != remaining {
			t.Fatalf("call %d (%s, %d, at most %v): %+v, want %d allowed and %d remaining", i, a.key, a.cost, a.atMost,
				a.res, want, remaining)
		}
	}
}

// TestDisableBatching_SendsEachCall makes calls while another script call is in flight.
func TestDisableBatching_SendsEachCall(t *testing.T) {
	h := hold(t, ratelimit.Config{DisableBatching: true})
	for range 3 {
		if _, err := h.Allow(t.Context(), "k", ratelimit.PerHour(5)); err != nil { // while the first is in flight
			t.Fatal(err)
		}
	}
	h.release()
	if n := h.scripts.Hits(); n != 4 {
		t.Errorf("%d script calls, want 4", n)
	}
}

// TestContext_LeavesOpenBatch checks that a call whose context ends leaves the open batch at once and is not charged.
func TestContext_LeavesOpenBatch(t *testing.T) {
	h := hold(t, ratelimit.Config{})
	limit := ratelimit.PerHour(10)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 2)
	var after *ratelimit.Result
	h.join(func() { _, _ = h.Allow(t.Context(), "k", limit) })
	h.join(func() { _, err := h.Allow(ctx, "k", limit); gone <- err })
	h.join(func() { gone <- h.Wait(ctx, "k", limit) })
	h.join(func() { after, _ = h.Allow(t.Context(), "k", limit) })
	cancel()
	for range 2 {
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
	h.release()
	if after == nil || after.Remaining != 8 {
		t.Errorf("got %+v, want 8 remaining", after)
	}
}

// TestContext_GivesLateGrantBack checks that a call whose context ends during its script call returns at once, and that a late
// grant is given back.
func TestContext_GivesLateGrantBack(t *testing.T) {
	faults := redistest.NewFaults(t)
	rdb := faults.Client(t, redistest.Client(t).Options())
	l := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(10)
	if _, err := l.Allow(t.Context(), "k", limit); err != nil {
		t.Fatal(err)
	}
	reply := faults.HoldReply(anyScript)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := l.AllowN(ctx, "k", limit, 5); gone <- err }()
	reply.Wait(t, 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	reply.Release()
	testkit.Eventually(t, "the late grant is given back", func() bool {
		res, err := l.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 9
	})
}

// TestInline_WaitsForReply checks that a lone call gets its answer although its context has ended, and that calls in its batch
// obey their own contexts.
func TestInline_WaitsForReply(t *testing.T) {
	faults := redistest.NewFaults(t)
	rdb := faults.Client(t, redistest.Client(t).Options())
	l, err := ratelimit.New(rdb, ratelimit.Config{Inline: true})
	if err != nil {
		t.Fatal(err)
	}
	limit := ratelimit.PerHour(10)
	remaining(t, l, limit, 10)
	reply := faults.HoldReply(redistest.Nth(1, anyScript))
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan *ratelimit.Result, 1)
	go func() {
		res, err := l.AllowN(ctx, "k", limit, 5)
		if err != nil {
			t.Error(err)
		}
		got <- res
	}()
	reply.Wait(t, 1)
	gone := make(chan error, 1)
	go func() { _, err := l.Allow(ctx, "k", limit); gone <- err }()
	for l.Gathering("k") == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	reply.Release()
	if res := <-got; res == nil || res.Remaining != 5 {
		t.Errorf("got %+v, want 5 remaining", res)
	}
	remaining(t, l, limit, 5)
}

// TestBatch_ContainsKeyOnce sends a quota with a full batch while the next batch has calls on the same key. A key that occurs
// twice in a script call would lose one of the changes.
func TestBatch_ContainsKeyOnce(t *testing.T) {
	h := hold(t, ratelimit.Config{MaxBatch: 2, MaxInFlight: 1})
	limit := ratelimit.PerHour(100)
	for _, n := range []int{1, 1, 2} { // the last one opens another batch
		h.join(func() {
			if _, err := h.AllowN(t.Context(), "k", limit, n); err != nil {
				t.Error(err)
			}
		})
	}
	if err := h.Observe("k", limit, ratelimit.Quota{Remaining: 50}); err != nil {
		t.Fatal(err)
	}
	h.release()
	remaining(t, h.Limiter, limit, 46)
}
