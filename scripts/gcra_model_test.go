package scripts

import (
	"math"
	"slices"
)

// gcraModel is the rate limit script in Go: the same states, the same operations, no Redis.
type gcraModel struct {
	states map[string]gcraStored
}

// gcraStored is what Redis holds of one limit.
type gcraStored struct {
	GCRAState
	expires float64 // seconds since 2017
}

// gcraRest is what the script takes for the rounding of given when it lowers a TAT, in seconds.
const gcraRest = 2e-6

// gcraRun is one execution.
type gcraRun struct {
	now    float64
	ahead  []float64
	given  []int64
	absent []bool
	dirty  []bool
	hold   []float64

	replyAhead []float64 // what the reply has
	replyGiven []int64
}

// capture keeps the states for the reply, once: before the first call for admission, or at the end.
func (r *gcraRun) capture() {
	if r.replyAhead == nil {
		r.replyAhead, r.replyGiven = slices.Clone(r.ahead), slices.Clone(r.given)
	}
}

// begin reads the states, as the script does before its operations.
func (m *gcraModel) begin(nowUS int64, keys []string, known []GCRAState) *gcraRun {
	n := len(keys)
	r := &gcraRun{
		now: float64(nowUS) / 1e6, ahead: make([]float64, n), given: make([]int64, n), absent: make([]bool, n),
		dirty: make([]bool, n), hold: make([]float64, n),
	}
	for i, k := range keys {
		s, ok := m.states[k]
		if ok && s.expires <= r.now {
			delete(m.states, k)
			ok = false
		}
		state := s.GCRAState
		if !ok {
			state = GCRAState{TAT: r.now}
			r.absent[i] = true
		}
		if known[i] != (GCRAState{}) && known[i].TAT > r.now && known[i].Newer(state) {
			state = GCRAState{TAT: max(state.TAT, known[i].TAT), Given: known[i].Given}
			r.dirty[i] = true
		}
		r.ahead[i], r.given[i] = max(state.TAT-r.now, 0), state.Given
	}
	return r
}

// end writes what has changed.
func (m *gcraModel) end(r *gcraRun, keys []string) {
	for i, k := range keys {
		if !r.dirty[i] {
			continue
		}
		ms := max(math.Ceil(max(r.ahead[i], r.hold[i])*1000), 1)
		if old, ok := m.states[k]; ok && r.given[i] > 0 {
			ms = max(ms, math.Round((old.expires-r.now)*1000))
		}
		m.states[k] = gcraStored{GCRAState{TAT: r.now + r.ahead[i], Given: r.given[i]}, r.now + ms/1000}
	}
}

func (r *gcraRun) units(l GCRALimit) float64 { return GCRAUnits(r.ahead[l.Key], l.Interval) }

// set brings a limit to so many units, and reports whether that is a change.
func (r *gcraRun) set(l GCRALimit, units float64) bool {
	a := units * l.Interval
	if a == r.ahead[l.Key] {
		return false
	}
	r.ahead[l.Key] = a
	r.dirty[l.Key] = true
	return true
}

func (r *gcraRun) allow(limits []GCRALimit) bool {
	for _, l := range limits {
		if r.units(l)+float64(l.Cost) > float64(l.Burst) {
			return false
		}
	}
	for _, l := range limits {
		if l.Cost > 0 {
			r.set(l, r.units(l)+float64(l.Cost))
			r.dirty[l.Key] = true
		}
	}
	return true
}

func (r *gcraRun) atMost(l GCRALimit) int64 {
	u := r.units(l)
	take := min(math.Floor(float64(l.Burst)-u), float64(l.Cost))
	if take <= 0 {
		return 0
	}
	r.set(l, u+take)
	r.dirty[l.Key] = true
	return int64(take)
}

// reserve returns whether the call was booked. units has the limits' units before it, and after it; lost gets what must
// not be given back any more.
func (r *gcraRun) reserve(limits []GCRALimit, units, lost []float64, wait float64) bool {
	slot := 0.0
	for j, l := range limits {
		slot = max(slot, (units[j]+float64(l.Cost)-float64(l.Burst))*l.Interval)
	}
	if slot > wait {
		return false
	}
	for j, l := range limits {
		later := slot - (units[j]+float64(l.Cost)-float64(l.Burst))*l.Interval
		if slot > 0 && later > gcraGrain && l.Cost > 0 {
			lost[j] += min(later, float64(l.Burst)*l.Interval)
		}
		if float64(units[j]*l.Interval) < slot {
			units[j] = slot / l.Interval
		}
		units[j] += float64(l.Cost)
	}
	return true
}

func (r *gcraRun) giveBack(l GCRALimit, after GCRAState) int64 {
	left := after.TAT - r.now
	since := (r.given[l.Key] - after.Given + GCRATurn) % GCRATurn
	back := float64(since) / 1e6
	charged := r.ahead[l.Key] - left + back
	if since >= GCRATurn/2 || charged < -1e-5 {
		return 0
	}
	seconds := min(float64(float64(l.Cost)*l.Interval), left-back)
	if charged > 1e-5 || charged > l.Interval/2 {
		seconds = min(seconds, float64(float64(l.Burst)*l.Interval)-charged)
	}
	if seconds <= 0 {
		return 0
	}
	r.lower(l.Key, seconds)
	return int64(math.Ceil(seconds * 1e6))
}

func (r *gcraRun) lower(key int, seconds float64) {
	r.hold[key] = max(r.hold[key], r.ahead[key])
	r.given[key] = (r.given[key] + int64(math.Ceil(seconds*1e6))) % GCRATurn
	r.ahead[key] -= seconds
	if r.ahead[key] < gcraRest {
		r.ahead[key] = 0
	}
	r.dirty[key] = true
}

func (r *gcraRun) reset(key int, remember float64) {
	r.hold[key] = remember
	if r.absent[key] {
		r.given[key] += 1e10
	}
	r.lower(key, r.ahead[key]+1e-6)
}

func (r *gcraRun) setBack(key int, step float64, seen GCRAState) bool {
	since := (r.given[key] - seen.Given + GCRATurn) % GCRATurn
	if since >= GCRATurn/2 || r.ahead[key] < seen.TAT-r.now-float64(since)/1e6-1e-5 {
		return false
	}
	step -= float64(since) / 1e6
	if step <= 0 || r.ahead[key] == 0 {
		return false
	}
	r.lower(key, step)
	return true
}

func (r *gcraRun) debit(l GCRALimit) {
	r.set(l, r.units(l)+float64(l.Cost))
	r.dirty[l.Key] = true
}

func (r *gcraRun) observe(l GCRALimit, remaining int64, reset float64) bool {
	a := (float64(l.Burst) - float64(remaining)) * l.Interval
	if reset > 0 {
		a = a - l.Interval + reset
	}
	if a <= r.ahead[l.Key] {
		return false
	}
	r.ahead[l.Key] = a
	r.dirty[l.Key] = true
	return true
}
