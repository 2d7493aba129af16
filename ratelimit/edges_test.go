package ratelimit_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// edges are the numbers at which computations with costs, rates and bursts can go wrong.
var edges = []int{
	math.MinInt, -1 << 53, -1, 0, 1, 2, 3, 10, 1000, 1<<31 - 1, 1 << 31, 1<<52 - 1, 1 << 52, 1<<52 + 1, 1 << 53, 1 << 62,
	math.MaxInt - 1, math.MaxInt,
}

var edgePeriods = []time.Duration{
	math.MinInt64, -1, 0, 1, time.Microsecond, time.Second, time.Hour, 100 * 365 * 24 * time.Hour, 1 << 62, math.MaxInt64,
}

// FuzzEdges makes random calls with numbers at their edges. No answer may exceed its range, and a call that is refused as
// invalid must change nothing.
func FuzzEdges(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		_, rdb := redistest.Mini(t)
		e := &edgeCalls{t: t, l: ratelimit.NewLimiter(rdb), rnd: rand.New(rand.NewPCG(seed, 11))}
		e.limit = ratelimit.Limit{Rate: e.number(), Burst: e.number(), Period: edgePeriods[e.rnd.IntN(len(edgePeriods))]}
		if e.rnd.IntN(2) == 0 { // a limit that is likely to be valid
			e.limit = ratelimit.Limit{Rate: max(e.number(), 1), Burst: 1 + e.rnd.IntN(100), Period: time.Hour}
		}
		for range 20 {
			e.call()
		}
	})
}

// edgeCalls makes calls on one limit.
type edgeCalls struct {
	t     *testing.T
	l     *ratelimit.Limiter
	rnd   *rand.Rand
	limit ratelimit.Limit
}

func (e *edgeCalls) number() int {
	if e.rnd.IntN(4) == 0 {
		return int(e.rnd.Uint64())
	}
	return edges[e.rnd.IntN(len(edges))]
}

func (e *edgeCalls) call() {
	n := e.number()
	switch e.rnd.IntN(6) {
	case 0:
		res, err := e.l.AllowN(e.t.Context(), "k", e.limit, n)
		e.result("AllowN", res, err, n)
	case 1:
		res, err := e.l.AllowAtMost(e.t.Context(), "k", e.limit, n)
		e.result("AllowAtMost", res, err, n)
	case 2:
		a, err := e.l.Admit(e.t.Context(), ratelimit.Charge{Key: "k", Limit: e.limit, Cost: n})
		e.check("Admit", err)
		if err == nil && (a.RetryAfter < -1 || a.Allowed != (a.Refused < 0)) {
			e.t.Errorf("%v: Admit(%d): got %+v", e.limit, n, a)
		}
	case 3:
		e.reserve(n)
	case 4:
		quota := ratelimit.Quota{Remaining: n}
		if e.rnd.IntN(2) == 0 {
			quota.Reset = time.Unix(int64(e.number()), 0)
		}
		if e.rnd.IntN(2) == 0 {
			quota.Taken = time.Unix(int64(e.number()), 0)
		}
		e.check("Observe", e.l.Observe("k", e.limit, quota))
	case 5:
		res, err := e.l.Peek(e.t.Context(), "k", e.limit)
		e.result("Peek", res, err, 0)
	}
}

// reserve books, and cancels or settles.
func (e *edgeCalls) reserve(n int) {
	r, err := e.l.ReserveWithin(e.t.Context(), time.Duration(e.number()), ratelimit.Charge{Key: "k", Limit: e.limit, Cost: n})
	e.check("ReserveWithin", err)
	if err != nil {
		return
	}
	if d := r.Delay(); d < 0 || r.Time().Before(time.Now().Add(-time.Minute)) {
		e.t.Errorf("%v: ReserveWithin(%d): got a delay of %v, at %v", e.limit, n, d, r.Time())
	}
	if e.rnd.IntN(2) == 0 {
		r.Cancel()
		return
	}
	actual := e.number()
	if err := r.Settle(actual); (err == nil) != (actual >= 0 && actual <= 1<<52) {
		e.t.Errorf("Settle(%d): got %v", actual, err)
	}
}

// result checks the ranges of a Result.
func (e *edgeCalls) result(method string, res *ratelimit.Result, err error, n int) {
	e.check(method, err)
	if err != nil {
		return
	}
	if n < 0 {
		e.t.Errorf("%s(%d): got no error, want ErrInvalid", method, n)
	}
	most := min(n, e.limit.Burst)
	if res.Allowed < 0 || res.Allowed > most || res.Remaining < 0 || res.Remaining > e.limit.Burst || res.ResetAfter < 0 ||
		res.RetryAfter < -1 || res.RetryAfter == 0 {
		e.t.Errorf("%v: %s(%d): got %+v, want 0 to %d allowed", e.limit, method, n, res, most)
	}
}

func (e *edgeCalls) check(method string, err error) {
	var own *ratelimit.Error
	if err != nil && !errors.As(err, &own) {
		e.t.Errorf("%v: %s: got %v, want an *Error", e.limit, method, err)
	}
	if err != nil && !errors.Is(err, ratelimit.ErrInvalid) && !errors.Is(err, ratelimit.ErrNeverFits) &&
		!errors.Is(err, ratelimit.ErrMaxWait) {
		e.t.Errorf("%v: %s: got %v, want it refused as invalid, as too large or as too late", e.limit, method, err)
	}
}

// TestMigration_AnswersLikeRedisRate makes unusual calls of redis_rate and of this package. doc.go lists those that only
// redis_rate accepts.
func TestMigration_AnswersLikeRedisRate(t *testing.T) {
	hour := ratelimit.PerHour(5)
	for name, c := range map[string]struct {
		limit   ratelimit.Limit
		n       int
		atMost  bool
		refused bool // here
	}{
		"no cost":                     {limit: hour},
		"cost above the burst":        {limit: hour, n: 6},
		"at most nothing":             {limit: hour, atMost: true},
		"at most the largest int":     {limit: hour, n: math.MaxInt, atMost: true},
		"burst of 0":                  {limit: ratelimit.Limit{Rate: 5, Period: time.Hour}, n: 1},
		"at most 1 of a burst of 0":   {limit: ratelimit.Limit{Rate: 5, Period: time.Hour}, n: 1, atMost: true},
		"no cost with a burst of 0":   {limit: ratelimit.Limit{Rate: 5, Period: time.Hour}},
		"burst below the rate":        {limit: ratelimit.Limit{Rate: 5, Burst: 1, Period: time.Hour}, n: 1},
		"negative cost":               {limit: hour, n: -1, refused: true},
		"negative cost, at most":      {limit: hour, n: -1, atMost: true, refused: true},
		"cost above 2^52":             {limit: hour, n: 1<<52 + 1, refused: true},
		"refill in over 100 years":    {limit: ratelimit.Limit{Rate: 1, Burst: 1000, Period: 1 << 60}, n: 1, refused: true},
		"rate of 0":                   {limit: ratelimit.Limit{Burst: 5, Period: time.Hour}, n: 1, refused: true},
		"negative rate":               {limit: ratelimit.Limit{Rate: -1, Burst: 5, Period: time.Hour}, n: 1, refused: true},
		"period of 0":                 {limit: ratelimit.Limit{Rate: 5, Burst: 5}, n: 1, refused: true},
		"period of 0, not even 1 hit": {limit: ratelimit.Limit{Rate: 5, Burst: 5}, n: 6, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := redistest.Client(t)
			peer, ours := redis_rate.NewLimiter(rdb), ratelimit.NewLimiter(rdb)
			theirs, mine := peer.AllowN, ours.AllowN
			if c.atMost {
				theirs, mine = peer.AllowAtMost, ours.AllowAtMost
			}
			want, peerErr := theirs(t.Context(), "peer", peerLimit(c.limit), c.n)
			got, err := mine(t.Context(), "ours", c.limit, c.n)
			t.Logf("redis_rate: %+v, %v", want, peerErr)
			if c.refused {
				if !errors.Is(err, ratelimit.ErrInvalid) {
					t.Errorf("got %+v, %v; want ErrInvalid", got, err)
				}
				return
			}
			if peerErr != nil || err != nil || got.Allowed != want.Allowed || got.Remaining != max(want.Remaining, 0) {
				t.Errorf("got %+v, %v; redis_rate %+v, %v", got, err, want, peerErr)
			}
		})
	}
}
