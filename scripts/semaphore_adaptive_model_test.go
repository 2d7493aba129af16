package scripts

import (
	"math"
	"strconv"
	"strings"
)

// adaptiveModel is the model of semaphore_adaptive.lua. Times are microseconds.
type adaptiveModel struct {
	limit                 float64
	cut, since, ok, total int64
	base, lowest, latency float64
}

func (a *adaptiveModel) encode() string {
	f := func(x float64) string { return strconv.FormatFloat(x, 'g', 17, 64) }
	d := func(n int64) string { return strconv.FormatInt(n, 10) }
	return strings.Join([]string{f(a.limit), d(a.cut), d(a.since), d(a.ok), d(a.total), f(a.base), f(a.lowest), f(a.latency)}, " ")
}

func (a *adaptiveModel) adapt(p *SemaphoreAdaptive, used, most, now int64) {
	elapsed := func(since int64, atLeast float64) bool { return now < since || float64(now-since) >= atLeast }
	every := float64(p.Every.Microseconds())
	busy := float64(2*used) >= a.limit
	switch {
	case p.Dropped > 0:
		if elapsed(a.cut, max(every, a.latency)) {
			a.limit *= p.Backoff
			a.cut, a.since, a.ok, a.total = now, now, 0, 0
		}
	case p.OK > 0:
		if busy && !p.Gradient {
			a.limit += float64(p.OK) / a.limit
		}
		a.ok += p.OK
		a.total += p.Total.Microseconds()
		if elapsed(a.since, every) {
			a.latency = max(1, float64(a.total)/float64(a.ok))
			if busy && p.Gradient {
				a.follow(p, float64(max(now-a.since, 0)))
			}
			a.since, a.ok, a.total = now, 0, 0
		}
	}
	a.limit = max(float64(min(p.Min, most)), min(a.limit, float64(most)))
}

func (a *adaptiveModel) follow(p *SemaphoreAdaptive, window float64) {
	const forget = 6 * 3600e6
	l := a.latency
	if a.base == 0 {
		a.base, a.lowest = l, l
	}
	a.base += float64((l - a.base) * 2 / 601)
	if a.base > 2*l {
		a.base *= 0.95
	}
	a.lowest = min(l, a.lowest*(1+min(window, forget)/forget))
	if a.limit <= 2*p.Queue {
		a.lowest = l
	}
	a.base = min(a.base, a.lowest*1.25)
	gradient := max(0.5, min(1, p.Tolerance*a.base/l))
	kept := a.limit * (1 - p.Smoothing)
	target := float64(a.limit*gradient) + p.Queue
	a.limit = kept + float64(target*p.Smoothing)
}

// limitNow is the limit that counts.
func (m *semModel) limitNow() int64 {
	if m.adaptive == nil {
		return m.header.limit
	}
	return min(m.header.limit, int64(math.Floor(m.adaptive.limit)))
}
