package retry_test

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/retry"
)

func newBudget(t *testing.T, share, perSecond float64) *retry.Budget {
	t.Helper()
	b, err := retry.NewBudget(share, perSecond)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func granted(b *retry.Budget, of int) (n int) {
	for range of {
		if b.Retry() {
			n++
		}
	}
	return n
}

// A budget allows its share of the first attempts of ten seconds, and its retries per second.
func TestBudget_IsAShareOfFirstAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, 0.25, 0.5)
		if got := granted(b, 100); got != 5 {
			t.Errorf("retries without first attempts: got %d, want 5", got)
		}
		for range 40 {
			b.First()
		}
		if got := granted(b, 100); got != 10 {
			t.Errorf("further retries after 40 first attempts: got %d, want 10", got)
		}
		time.Sleep(9 * time.Second)
		if b.Retry() {
			t.Error("a retry nine seconds later: got true, want false")
		}
		time.Sleep(time.Second)
		if got := granted(b, 100); got != 5 {
			t.Errorf("retries ten seconds later: got %d, want 5", got)
		}
		time.Sleep(1000*time.Hour + 3*time.Second)
		if got := granted(b, 100); got != 5 {
			t.Errorf("retries much later: got %d, want 5", got)
		}
	})
}

// Four first attempts and a share of a half allow two retries.
func TestDo_StopsWhenTheBudgetIsSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := exact()
		p.Budget = newBudget(t, 0.5, 0)
		later := retry.After(errBoom, 0)
		for range 3 {
			retry.Do(t.Context(), p, fails().call)
		}
		_, err := retry.Do(t.Context(), p, fails(later, later, later).call)
		if e := must(t, err, retry.BudgetSpent); e.Attempts != 3 || e.Wait != 4*time.Second {
			t.Errorf("got %+v, want 3 attempts and a wait of 4s", e)
		}
	})
}

// naiveBudget is the model of a Budget: it keeps every event and counts those of the last ten whole seconds.
type naiveBudget struct {
	share, perSecond float64
	firsts, retries  []int64 // seconds
}

func (b *naiveBudget) retry(second int64) bool {
	recent := func(events []int64) (n float64) {
		for _, at := range events {
			if at > second-10 {
				n++
			}
		}
		return n
	}
	if recent(b.retries)+1 > b.share*recent(b.firsts)+10*b.perSecond {
		return false
	}
	b.retries = append(b.retries, second)
	return true
}

// A Budget decides like its model over random events.
func TestBudget_AgreesWithItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		naive := &naiveBudget{
			share:     float64(rapid.IntRange(0, 8).Draw(rt, "share")) / 8, // exact in binary
			perSecond: float64(rapid.IntRange(0, 4).Draw(rt, "per second")) / 8,
		}
		type event struct {
			pause time.Duration
			first int
		}
		events := rapid.SliceOf(rapid.Custom(func(t *rapid.T) event {
			pause := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, time.Second, 7 * time.Second, time.Hour}).Draw(t, "pause")
			return event{pause, rapid.IntRange(0, 9).Draw(t, "firsts")}
		})).Draw(rt, "events")
		synctest.Test(t, func(t *testing.T) {
			b, start := newBudget(t, naive.share, naive.perSecond), time.Now()
			for i, e := range events {
				time.Sleep(e.pause)
				second := int64(time.Since(start) / time.Second)
				for range e.first {
					b.First()
					naive.firsts = append(naive.firsts, second)
				}
				if got, want := b.Retry(), naive.retry(second); got != want {
					t.Fatalf("event %d of %v: got %v, want %v", i, events, got, want)
				}
			}
		})
	})
}

// Calls that all fail make no more retries than the budget allows.
func TestBudget_BoundsAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, 0.1, 1)
		var mu sync.Mutex
		attempts := 0
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				f := fails(retry.Immediately(errBoom), retry.Immediately(errBoom), retry.Immediately(errBoom))
				retry.Do(t.Context(), retry.Policy{Budget: b}, f.call)
				mu.Lock()
				defer mu.Unlock()
				attempts += len(f.began)
			})
		}
		wg.Wait()
		if attempts > 1000+100+10 {
			t.Errorf("attempts of 1000 calls: got %d, want at most 1110", attempts)
		}
	})
}

// NewBudget checks its arguments.
func TestNewBudget_RefusesValuesOutOfRange(t *testing.T) {
	for _, c := range [][2]float64{{-1, 1}, {1.1, 1}, {0.1, -1}, {math.NaN(), 1}, {0.1, math.Inf(1)}} {
		if _, err := retry.NewBudget(c[0], c[1]); err == nil {
			t.Errorf("NewBudget(%v, %v): got no error, want one", c[0], c[1])
		}
	}
}
