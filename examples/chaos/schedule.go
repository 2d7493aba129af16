package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// planned is one fault of a schedule.
type planned struct {
	kind *kind
	at   time.Duration // since the run's beginning
	last time.Duration // how long it lasts
	pick int           // which worker, account or the like it happens to, modulo their number
}

const (
	// warmUp is the time before the first fault, in which throughput becomes steady.
	warmUp = 4 * time.Second
	// calmBetween is the time between two faults of one kind, beyond its bound of recovery.
	calmBetween = 1500 * time.Millisecond
	// calmAtEnd is the time between the last fault and the end of a mixed run.
	calmAtEnd = 4 * time.Second
	// meanPause is the mean time between the beginnings of two faults of a mixed run.
	meanPause = 2 * time.Second
	// mostAtOnce is how many faults of a mixed run happen at once.
	mostAtOnce = 2
)

// draw draws how long a fault lasts and to what it happens.
func draw(r *rand.Rand, k *kind, at time.Duration, l *load) planned {
	p := planned{kind: k, at: at, last: k.least, pick: r.IntN(1 << 16)}
	if k.most > k.least {
		p.last += time.Duration(r.Int64N(int64(k.most - k.least)))
	}
	if k.beyondTTL {
		p.last += l.SessionTTL
	}
	return p
}

// alone returns the schedule of one kind: again and again, with time to recover after each. There is at least one fault.
func alone(k *kind, seed uint64, duration time.Duration, l *load) []planned {
	r := rand.New(rand.NewPCG(seed, 1))
	var all []planned
	calm := max(k.recovers, quick) + calmBetween
	for at := min(warmUp, duration/3); ; {
		p := draw(r, k, at, l)
		if len(all) > 0 && at+p.last+calm > duration {
			return all
		}
		all = append(all, p)
		at += p.last + calm
	}
}

// mixed returns a schedule of all kinds, drawn by the seed. Faults of different subjects may overlap.
func mixed(from []*kind, seed uint64, duration time.Duration, l *load) []planned {
	r := rand.New(rand.NewPCG(seed, 2))
	var all []planned
	for at := min(warmUp, duration/3); at < duration-calmAtEnd || len(all) == 0; {
		p := draw(r, from[r.IntN(len(from))], at, l)
		if fitsIn(all, p) && (len(all) == 0 || at+p.last <= duration-calmAtEnd) {
			all = append(all, p)
		}
		at += time.Duration((0.2 + r.ExpFloat64()) * float64(meanPause))
	}
	return all
}

// fitsIn reports whether a fault may be added: nothing else happens to its subject, and not too much at once.
func fitsIn(all []planned, p planned) bool {
	atOnce := 0
	for _, other := range all {
		if p.at <= other.at+other.last {
			atOnce++
			if other.kind.subject == p.kind.subject {
				return false
			}
		}
	}
	return atOnce < mostAtOnce
}

// event is the beginning or the end of a planned fault.
type event struct {
	at    time.Duration
	begin bool
	fault int // index in the schedule
}

// events returns the beginnings and ends of a schedule in the order of time.
func events(all []planned) []event {
	var list []event
	for i, p := range all {
		list = append(list, event{p.at, true, i})
		if p.kind.end != nil {
			list = append(list, event{p.at + p.last, false, i})
		}
	}
	slices.SortStableFunc(list, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return list
}
