package admission

import (
	"slices"
	"testing"
	"time"
)

// Permits are counted by account, and the release of one is unreported until the next call reports the permits held.
func TestPermits_CountHeldAndUnreported(t *testing.T) {
	t.Parallel()
	a, b := &account{Account{ID: "a"}, &tally{}}, &account{Account{ID: "b"}, &tally{}}
	p := permits{limited: true}
	p.take(a.tally)
	p.take(a.tally)
	p.take(b.tally)
	if p.inFlight != 3 || a.held != 2 || b.held != 1 || a.samples.peak != 2 {
		t.Fatalf("after three calls: got %+v, a %+v, b %+v", p, *a.tally, *b.tally)
	}
	p.release(a.tally)
	p.unused(noon)
	p.unused(noon.Add(time.Second))
	if p.inFlight != 2 || a.held != 1 || !p.unreportedSince.Equal(noon) {
		t.Fatalf("after a release: got %+v, want 2 in flight, unreported since noon", p)
	}
	held, all := p.reporting([]*account{a, b})
	if !slices.Equal(held, []int{1, 1}) || all != 2 || !p.unreportedSince.IsZero() {
		t.Errorf("report: got %v, %d, %+v, want one permit each and nothing unreported", held, all, p)
	}
}

// Redis counts what a call that succeeded reported and was granted.
func TestPermits_ReportedIsWhatRedisCounts(t *testing.T) {
	t.Parallel()
	p := permits{limited: true}
	p.reported(noon, 2, 3, 4, true)
	want := permits{limited: true, reportedHeld: 5, reportedWaiting: 4, lastCallAt: noon, contended: true}
	if p != want || !p.counted() {
		t.Errorf("got %+v, want %+v", p, want)
	}
	p.reported(noon, 0, 0, 0, false)
	if p.counted() {
		t.Errorf("got %+v counted, want nothing", p)
	}
}

// Without a limit on calls in flight no permits are reported.
func TestPermits_WithoutALimitNoneAreReported(t *testing.T) {
	t.Parallel()
	a := &account{Account{ID: "a"}, &tally{}}
	var p permits
	p.take(a.tally)
	if held, all := p.reporting([]*account{a}); held != nil || all != 0 {
		t.Errorf("got %v, %d, want none", held, all)
	}
	p.reported(noon, 0, 3, 1, false)
	if p.reportedHeld != 0 || p.reportedWaiting != 1 {
		t.Errorf("got %+v, want no permits and one waiter", p)
	}
}

// A call whose outcome is unknown may have left its waiters in Redis, and never fewer than before.
func TestPermits_UnknownCallMayHaveLeftWaiters(t *testing.T) {
	t.Parallel()
	p := permits{reportedWaiting: 2}
	for _, step := range []struct{ waiters, want int }{{1, 2}, {5, 5}, {0, 5}} {
		if p.unknown(step.waiters); p.reportedWaiting != step.want {
			t.Errorf("after an unknown call with %d waiters: got %d, want %d", step.waiters, p.reportedWaiting, step.want)
		}
	}
}
