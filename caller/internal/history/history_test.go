package history

import (
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// Events of several processes add up, by slot, and quantiles are at most a bucket too long.
func TestHistory_AddsUp(t *testing.T) {
	var a, b History
	for i := range 100 {
		a.Add(noon, Succeeded)
		a.Took(noon, time.Duration(i+1)*10*time.Millisecond)
		b.Add(noon.Add(SlotLength), Failed)
	}
	slots := a.Read(noon.Add(SlotLength))
	others := b.Read(noon.Add(SlotLength))
	if len(slots) != 1 || len(others) != 1 || others[0].Number != slots[0].Number+1 || !slots[0].Begins().Equal(noon) {
		t.Fatalf("slots: got %+v and %+v, want one each, in a row", slots, others)
	}
	s := slots[0]
	s.Merge(&s)
	if s.Counts[Succeeded] != 200 {
		t.Errorf("succeeded: got %d, want 200", s.Counts[Succeeded])
	}
	for q, exact := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := s.Quantile(q); got < exact || float64(got) > growth*float64(exact) {
			t.Errorf("quantile %v: got %v, want %v to 5 %% more", q, got, exact)
		}
	}
}

// A slot that is older than the history is no longer read, and its place starts at 0.
func TestHistory_ForgetsWhatIsOver(t *testing.T) {
	var h History
	h.Add(noon, Failed)
	later := noon.Add(Slots * SlotLength)
	if got := h.Read(later); len(got) != 0 {
		t.Errorf("after the last slot: got %+v, want nothing", got)
	}
	h.Add(later, Attempts)
	if got := h.Read(later); len(got) != 1 || got[0].Counts[Failed] != 0 || got[0].Counts[Attempts] != 1 {
		t.Errorf("the place of an old slot: got %+v, want one attempt and no failure", got)
	}
}

// Latencies out of range are in the first and the last bucket.
func TestHistory_TakesAnyLatency(t *testing.T) {
	var h History
	var all sync.WaitGroup
	for _, d := range []time.Duration{-time.Second, 0, time.Nanosecond, 1000 * time.Hour} {
		all.Go(func() { h.Took(noon, d) })
	}
	all.Wait()
	s := h.Read(noon)[0]
	if s.Latencies[0] != 3 || s.Latencies[buckets-1] != 1 {
		t.Errorf("buckets: got %v, want 3 in the first and 1 in the last", s.Latencies)
	}
}
