package apisim

import (
	"math/rand/v2"
	"testing"
	"time"
)

// inWindow counts, by brute force, the units of the entries in the half-open window (end-per, end].
func inWindow(log []entry, end, per time.Duration, own bool) int64 {
	var n int64
	for _, e := range log {
		if e.at > end-per && e.at <= end && (e.own || !own) {
			n += e.units
		}
	}
	return n
}

// A window agrees with a plain list on each decision, each wait and the peaks, over random arrivals. Times are few and
// small, so entries are often exactly on a window's edge.
func TestWindow_AgreesWithBruteForce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		limit := Limit{Metric: Tokens, Limit: 1 + r.Int64N(40), Per: time.Duration(1 + r.IntN(20))}
		w := newWindow(limit)
		var log []entry
		now := time.Duration(0)
		for range 300 {
			now += time.Duration(r.IntN(4))
			units := 1 + r.Int64N(limit.Limit/4+2)
			w.expire(now)
			before := inWindow(log, now, limit.Per, false)
			if w.used != before {
				t.Fatalf("seed %d: used = %d, want %d", seed, w.used, before)
			}
			if w.fits(units) != (before+units <= limit.Limit) {
				t.Fatalf("seed %d: fits(%d) = %t with %d of %d used", seed, units, w.fits(units), before, limit.Limit)
			}
			checkWait(t, w, log, now, units)
			if w.fits(units) {
				e := entry{at: now, units: units, own: r.IntN(5) > 0}
				w.add(e)
				log = append(log, e)
			}
		}
		var peak int64
		for _, e := range log { // the fullest window ends at an entry
			if n := inWindow(log, e.at, limit.Per, false); n > limit.Limit {
				t.Fatalf("seed %d: %d units in a window of a limit of %d", seed, n, limit.Limit)
			}
			peak = max(peak, inWindow(log, e.at, limit.Per, true))
		}
		if w.peak != peak {
			t.Fatalf("seed %d: peak = %d, want %d", seed, w.peak, peak)
		}
	}
}

// checkWait: after the wait the units fit, and a moment earlier they don't.
func checkWait(t *testing.T, w *window, log []entry, now time.Duration, units int64) {
	t.Helper()
	wait, possible := w.retryAfter(now, units)
	if possible != (units <= w.limit.Limit) {
		t.Fatalf("retryAfter(%d) of a limit of %d: possible = %t", units, w.limit.Limit, possible)
	}
	if !possible {
		return
	}
	if inWindow(log, now+wait, w.limit.Per, false)+units > w.limit.Limit {
		t.Fatalf("%d units don't fit after the wait of %d", units, wait)
	}
	if wait > 0 && inWindow(log, now+wait-1, w.limit.Per, false)+units <= w.limit.Limit {
		t.Fatalf("%d units fit before the wait of %d is over", units, wait)
	}
	if full := w.full(now); full > 0 && (inWindow(log, now+full, w.limit.Per, false) != 0 ||
		inWindow(log, now+full-1, w.limit.Per, false) == 0) {
		t.Fatalf("full after %d is wrong", full)
	}
}

// Calls that are spaced evenly at the limit's rate use all of it.
func TestUtilization_IsOneForEvenCalls(t *testing.T) {
	t.Parallel()
	w := newWindow(Limit{Metric: Requests, Limit: 10, Per: time.Second})
	for i := range 37 {
		now := time.Duration(i) * 100 * time.Millisecond
		w.expire(now)
		if !w.fits(1) {
			t.Fatalf("call %d, evenly spaced, is refused", i)
		}
		w.add(entry{at: now, units: 1, own: true})
	}
	if l := w.ledger(); l.Utilization < 0.999 || l.Utilization > 1.001 || l.Peak != 10 {
		t.Errorf("utilization %v, peak %d; want 1 and 10", l.Utilization, l.Peak)
	}
}
