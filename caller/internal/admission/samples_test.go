package admission

import (
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Results are reported at the end of a window, and after an overload at a tenth of it.
func TestSamples_DueAtTheWindowsEndOrSoonAfterAnOverload(t *testing.T) {
	t.Parallel()
	var s samples
	if at, ok := s.due(time.Second); ok {
		t.Errorf("without samples: got due at %v, want never", at)
	}
	s.add(None, time.Second, noon)
	if _, ok := s.due(time.Second); ok {
		t.Error("after a result that says nothing: got due, want never")
	}
	s.add(Served, time.Second, noon)
	s.add(Served, time.Second, noon.Add(time.Second))
	if at, _ := s.due(10 * time.Second); !at.Equal(noon.Add(10 * time.Second)) {
		t.Errorf("after two results: got due at %v, want a window after the first", at)
	}
	s.add(Overloaded, time.Hour, noon.Add(time.Second))
	if at, _ := s.due(10 * time.Second); !at.Equal(noon.Add(time.Second)) {
		t.Errorf("after an overload: got due at %v, want a tenth of a window after the first", at)
	}
}

// A report has the results since the last one, the latency of calls that were served, and the peak of calls in flight.
func TestSamples_DrainReportsAndStartsAnew(t *testing.T) {
	t.Parallel()
	var s samples
	s.admitted(3)
	s.add(Served, 2*time.Second, noon)
	s.add(Overloaded, time.Hour, noon)
	if r, ok := s.drain(noon, time.Second, 7, 1); ok {
		t.Fatalf("before it is due: got %+v, want no report", r)
	}
	later := noon.Add(time.Second)
	got, ok := s.drain(later, time.Second, 7, 1)
	want := scripts.PoolReport{Kind: scripts.AdaptPermits, Account: 7, OK: 1, Dropped: 1, For: 2 * time.Second, Peak: 3}
	if !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	if s != (samples{peak: 1}) {
		t.Errorf("after a report: got %+v, want only the calls in flight", s)
	}
}

// The first positive number of calls that the provider would take is reported, once.
func TestSamples_InitialLimitIsReportedOnce(t *testing.T) {
	t.Parallel()
	var s samples
	for _, step := range []struct {
		calls int64
		want  bool
	}{{0, false}, {-1, false}, {40, true}, {50, false}} {
		if got := s.setInitialLimit(step.calls, noon); got != step.want {
			t.Errorf("%d calls: got %v, want %v", step.calls, got, step.want)
		}
	}
	if r, ok := s.drain(noon.Add(time.Second), time.Second, 0, 0); !ok || r.Units != 40 {
		t.Errorf("got %+v, %v, want 40 calls to begin with", r, ok)
	}
	s.add(Served, 1, noon)
	if r, _ := s.drain(noon.Add(time.Second), time.Second, 0, 0); r.Units != 0 || s.setInitialLimit(60, noon) {
		t.Errorf("the next report: got %+v, want no number of calls", r)
	}
}
