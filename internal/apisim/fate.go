package apisim

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// fate is the failure and latency of one attempt. It depends on the seed, the call's ID and the attempt's number only, so
// that a run can be repeated with another order of arrival.
type fate struct {
	kind    Kind // "" for none
	latency time.Duration
}

func draw(seed, call uint64, attempt int, f Failures, l Latency) fate {
	r := rand.New(rand.NewPCG(seed^call, uint64(attempt)))
	var out fate
	u := r.Float64()
	for _, k := range kinds {
		if u -= *f.rate(k); u < 0 {
			out.kind = k
			break
		}
	}
	out.latency = l.Min
	if l.Max > l.Min {
		out.latency += time.Duration(r.Int64N(int64(l.Max-l.Min) + 1))
	}
	return out
}

func hash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}
