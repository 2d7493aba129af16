// Package history keeps what happened in the last minutes, in constant memory: counts and latencies, in slots of equal
// length. Histories of several processes add up.
package history

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// SlotLength is the length of a slot, and Slots how many are kept: the last quarter of an hour.
	SlotLength = 30 * time.Second
	Slots      = 30

	// A latency d falls into the bucket ⌈log(d/least)/log(growth)⌉. So a quantile is at most 5 % above the true one, in a
	// range of 1 ms to 11 hours (log-linear sketches: DDSketch, https://arxiv.org/abs/1908.10693, section 2).
	least   = time.Millisecond
	growth  = 1.05
	buckets = 360
)

// logGrowth is the logarithm of growth.
var logGrowth = math.Log(growth)

// Count is what a slot counts.
type Count int

// Values of Count.
const (
	Succeeded Count = iota // calls that ended without an error
	Failed                 // calls that ended with an error
	Attempts               // attempts that ended
	Throttled              // attempts that exceeded a limit of the provider
	Counts                 // how many there are
)

// History is what a process did in the last minutes. The zero History is ready for use, and safe for concurrent use.
type History struct {
	mu    sync.Mutex // held while a slot begins
	slots [Slots]slot
}

// slot is the counts of one interval.
type slot struct {
	number atomic.Int64 // of SlotLengths since 1970
	counts [Counts]atomic.Int64
	// latencies of calls, by bucket
	latencies [buckets]atomic.Uint32
}

// Add counts an event.
func (h *History) Add(now time.Time, c Count) { h.at(now).counts[c].Add(1) }

// Took records the latency of a call.
func (h *History) Took(now time.Time, d time.Duration) { h.at(now).latencies[bucket(d)].Add(1) }

// at returns the slot of a time. An event at the edge of two slots may be counted in either.
func (h *History) at(now time.Time) *slot {
	number := now.UnixNano() / int64(SlotLength)
	s := &h.slots[number%Slots]
	if s.number.Load() < number {
		h.begin(s, number)
	}
	return s
}

// begin empties a slot for another interval.
func (h *History) begin(s *slot, number int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.number.Load() >= number {
		return
	}
	for i := range s.counts {
		s.counts[i].Store(0)
	}
	for i := range s.latencies {
		s.latencies[i].Store(0)
	}
	s.number.Store(number)
}

// bucket returns the bucket of a latency.
func bucket(d time.Duration) int {
	if d <= least {
		return 0
	}
	return min(buckets-1, int(math.Ceil(math.Log(float64(d)/float64(least))/logGrowth)))
}

// upper returns the greatest latency of a bucket.
func upper(bucket int) time.Duration {
	return time.Duration(float64(least) * math.Pow(growth, float64(bucket)))
}

// Slot is one interval of a history. Slots of the same Number add up.
type Slot struct {
	Number    int64          `json:"n"` // of SlotLengths since 1970
	Counts    [Counts]int64  `json:"c"`
	Latencies map[int]uint32 `json:"l,omitempty"` // number of calls by bucket
}

// Read returns the slots that aren't empty, oldest first.
func (h *History) Read(now time.Time) []Slot {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Slot
	last := now.UnixNano() / int64(SlotLength)
	for number := last - Slots + 1; number <= last; number++ {
		s := &h.slots[number%Slots]
		if s.number.Load() != number {
			continue
		}
		out := Slot{Number: number}
		for i := range s.counts {
			out.Counts[i] = s.counts[i].Load()
		}
		for i := range s.latencies {
			if n := s.latencies[i].Load(); n > 0 {
				if out.Latencies == nil {
					out.Latencies = map[int]uint32{}
				}
				out.Latencies[i] = n
			}
		}
		if out.Counts != [Counts]int64{} || out.Latencies != nil {
			all = append(all, out)
		}
	}
	return all
}

// Merge adds a slot of the same number.
func (s *Slot) Merge(other *Slot) {
	for i, n := range other.Counts {
		s.Counts[i] += n
	}
	for b, n := range other.Latencies {
		if s.Latencies == nil {
			s.Latencies = map[int]uint32{}
		}
		s.Latencies[b] += n
	}
}

// Begins returns when the slot begins.
func (s *Slot) Begins() time.Time { return time.Unix(0, s.Number*int64(SlotLength)) }

// Quantile returns the latency that the share q of the calls stays within; 0: there were no calls.
func (s *Slot) Quantile(q float64) time.Duration {
	var total, below uint64
	for _, n := range s.Latencies {
		total += uint64(n)
	}
	if total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(total)))
	for b := range buckets {
		if below += uint64(s.Latencies[b]); below >= max(rank, 1) {
			return upper(b)
		}
	}
	return upper(buckets - 1)
}
