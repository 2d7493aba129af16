package scripts

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// keeping is a client that keeps keys from expiring by the real clock: the tests' time is their own. ttl is what the
// last command had set.
type keeping struct {
	rdb  *redis.Client
	keys []string
	ttl  []time.Duration
}

func (k *keeping) Process(ctx context.Context, cmd redis.Cmder) error {
	pipe := k.rdb.TxPipeline()
	_ = pipe.Process(ctx, cmd)
	ttl := make([]*redis.DurationCmd, len(k.keys))
	for i, key := range k.keys {
		ttl[i] = pipe.PTTL(ctx, key)
		pipe.Persist(ctx, key)
	}
	_, _ = pipe.Exec(ctx)
	k.ttl = k.ttl[:0]
	for _, c := range ttl {
		k.ttl = append(k.ttl, c.Val())
	}
	return cmd.Err()
}

// FuzzGCRA runs random operations on Redis and in the model, at the same times, and compares answers and states.
func FuzzGCRA(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, uint16(40))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		for _, rdb := range clients(t) {
			newGCRAPair(rdb, seed).compare(t, int(steps%200))
		}
	})
}

func clients(t *testing.T) []*redis.Client {
	_, mini := redistest.Mini(t)
	return []*redis.Client{redistest.Client(t), mini}
}

// gcraPair is the script on Redis and its model, fed with the same calls.
type gcraPair struct {
	rnd    *rand.Rand
	client *keeping
	model  gcraModel
	now    int64
	keys   []string
	limits []GCRALimit            // one per key
	seen   map[string][]GCRAState // states that a client may know
}

func newGCRAPair(rdb *redis.Client, seed uint64) *gcraPair {
	p := &gcraPair{
		rnd:   rand.New(rand.NewPCG(seed, 7)),
		model: gcraModel{states: map[string]gcraStored{}},
		now:   312_345_678_123_456,
		keys:  []string{"a", "{b}", "c\x00\xff"},
		seen:  map[string][]GCRAState{},
	}
	p.client = &keeping{rdb: rdb, keys: p.keys}
	for i := range p.keys {
		burst := 1 + p.rnd.Int64N(12)
		interval := math.Pow(10, -5+7*p.rnd.Float64())
		if p.rnd.IntN(2) == 0 {
			interval = 1 / float64(1+p.rnd.IntN(1000))
		}
		p.limits = append(p.limits, GCRALimit{Key: i, Interval: interval, Burst: burst})
	}
	return p
}

func (p *gcraPair) compare(t *testing.T, steps int) {
	for range steps {
		span := p.limits[p.rnd.IntN(3)].Interval * 3 * p.rnd.Float64()
		if p.rnd.IntN(3) > 0 { // else: at the same time
			p.now += int64(span * 1e6)
		}
		if p.rnd.IntN(25) == 0 { // writes are lost
			p.lose(t)
		}
		p.step(t)
		if t.Failed() {
			return
		}
	}
}

func (p *gcraPair) lose(t *testing.T) {
	k := p.keys[p.rnd.IntN(3)]
	if err := p.client.rdb.Del(t.Context(), k).Err(); err != nil {
		t.Fatal(err)
	}
	delete(p.model.states, k)
}

// step makes one call: of several operations, or a single one by the script for that.
func (p *gcraPair) step(t *testing.T) {
	if p.rnd.IntN(3) == 0 {
		p.stepAllow(t)
		return
	}
	known := p.known()
	call := NewGCRA(p.keys, known, 0, 0)
	call.At(p.now)
	run := p.model.begin(p.now, p.keys, known)
	var want []int64
	for range 1 + p.rnd.IntN(4) {
		want = append(want, p.operation(call, run)...)
	}
	got, err := call.Run(t.Context(), p.client)
	if err != nil {
		t.Fatal(err)
	}
	run.capture()
	p.model.end(run, p.keys)
	if !slices.Equal(got.Results(), want) {
		t.Errorf("results %v, the model has %v; arguments %v", got.Results(), want, call.args)
	}
	for i := range p.keys {
		p.check(t, i, run, i, got)
	}
}

func (p *gcraPair) stepAllow(t *testing.T) {
	limit := p.limits[p.rnd.IntN(3)]
	limit.Cost = p.rnd.Int64N(limit.Burst + 2)
	i := limit.Key
	limit.Key = 0
	call := GCRAAllow{Key: p.keys[i], Known: p.known()[i], Count: 1 + p.rnd.IntN(5), Limit: limit, At: p.now}
	run := p.model.begin(p.now, p.keys[i:i+1], []GCRAState{call.Known})
	run.capture()
	want := repeat(call.Count, func() int64 { return b2i(run.allow([]GCRALimit{limit})) })
	got, err := call.Run(t.Context(), p.client)
	if err != nil {
		t.Fatal(err)
	}
	p.model.end(run, p.keys[i:i+1])
	if got.Results()[0] != want {
		t.Errorf("%d admitted, the model has %d: %+v", got.Results()[0], want, call)
	}
	p.check(t, i, run, 0, got)
}

// known returns states that a client may have seen of each limit.
func (p *gcraPair) known() []GCRAState {
	known := make([]GCRAState, len(p.keys))
	for i, k := range p.keys {
		if n := len(p.seen[k]); n > 0 && p.rnd.IntN(3) == 0 {
			known[i] = p.seen[k][p.rnd.IntN(n)]
		}
	}
	return known
}

// gcraEqual reports whether two TATs, in seconds from now, differ by rounding only. Where a rest is dropped, rounding
// decides whether it is.
func gcraEqual(a, b float64) bool {
	d := math.Abs(a - b)
	return d <= 3e-7 || min(a, b) < 3e-7 && math.Abs(d-gcraRest) <= 3e-7
}

// check compares the answer, state and expiry of key i, the j-th of the call, and takes over the state so that rounding
// doesn't pile up.
func (p *gcraPair) check(t *testing.T, i int, run *gcraRun, j int, got GCRAReply) {
	k := p.keys[i]
	if !gcraEqual(got.Ahead(j).Seconds(), run.replyAhead[j]) || got.Given(j) != run.replyGiven[j] {
		t.Errorf("%q: ahead %v given %d, the model has %v, %d", k, got.Ahead(j), got.Given(j), run.replyAhead[j],
			run.replyGiven[j])
	}
	s, ok := p.model.states[k]
	text, err := p.client.rdb.Get(t.Context(), k).Result()
	if (err == nil) != ok {
		t.Fatalf("%q is %q in Redis, in the model: %v, %v", k, text, s, ok)
	}
	if !ok {
		return
	}
	state, err := ParseGCRAState(text)
	if err != nil {
		t.Fatal(err)
	}
	if !gcraEqual(state.TAT-run.now, s.TAT-run.now) || state.Given != s.Given {
		t.Errorf("%q: %q, the model has %v", k, text, s)
	}
	if run.dirty[j] {
		// Redis rounds the time of an expiry to milliseconds, and its own clock ticks on, perhaps for long.
		drained := max(run.ahead[j], run.hold[j])
		if ttl := p.client.ttl[i].Seconds(); ttl < drained-5 || ttl > drained+0.003 {
			t.Errorf("%q expires in %v s, drained in %v s", k, ttl, drained)
		}
	}
	s.GCRAState = state
	s.expires = math.Inf(1) // the tests keep keys
	p.model.states[k] = s
	p.seen[k] = append(p.seen[k], state)
}

// operation adds one operation to both and returns the model's results.
func (p *gcraPair) operation(call *GCRA, run *gcraRun) []int64 {
	l := p.limits[p.rnd.IntN(3)]
	l.Cost = p.rnd.Int64N(l.Burst + 2)
	count := 1 + p.rnd.IntN(5)
	kind := p.rnd.IntN(10)
	if kind < 5 {
		run.capture()
	}
	switch kind {
	case 0, 1:
		limits := p.some(2)
		call.Allow(count, limits...)
		return []int64{repeat(count, func() int64 { return b2i(run.allow(limits)) })}
	case 2:
		call.AtMost(count, l)
		return []int64{repeat(count, func() int64 { return run.atMost(l) })}
	case 3, 4:
		return p.reserve(call, run, count)
	case 5:
		after := p.lately(l)
		call.GiveBack(l, after)
		return []int64{run.giveBack(l, after)}
	case 8:
		step, seen := time.Duration(p.rnd.Float64()*5*l.Interval*1e9), p.lately(l)
		call.SetBack(l.Key, step, seen)
		return []int64{b2i(run.setBack(l.Key, step.Seconds(), seen))}
	case 6:
		call.Debit(l)
		run.debit(l)
		return []int64{1}
	case 7:
		reset := time.Duration(p.rnd.Float64() * float64(p.rnd.IntN(2)) * 10 * l.Interval * 1e9)
		call.Observe(l, l.Cost, reset)
		return []int64{b2i(run.observe(l, l.Cost, reset.Seconds()))}
	default:
		remember := time.Duration(l.Interval * float64(l.Burst) * 1e9)
		call.Reset(l.Key, remember)
		run.reset(l.Key, remember.Seconds())
		return []int64{1}
	}
}

// lately returns a state that a client may have seen of the limit not long ago.
func (p *gcraPair) lately(l GCRALimit) GCRAState {
	if n := len(p.seen[p.keys[l.Key]]); n > 0 {
		return p.seen[p.keys[l.Key]][n-1-p.rnd.IntN(min(n, 3))]
	}
	return GCRAState{TAT: float64(p.now)/1e6 + l.Interval}
}

// some returns different limits with costs of at most burst+over.
func (p *gcraPair) some(over int64) []GCRALimit {
	var limits []GCRALimit
	for _, i := range p.rnd.Perm(3)[:1+p.rnd.IntN(3)] {
		l := p.limits[i]
		l.Cost = p.rnd.Int64N(l.Burst + over)
		limits = append(limits, l)
	}
	return limits
}

func (p *gcraPair) reserve(call *GCRA, run *gcraRun, count int) []int64 {
	limits := p.some(1)
	count *= 1 + 9*p.rnd.IntN(2)
	var waits []int64
	wait := math.Inf(1)
	if p.rnd.IntN(2) == 0 {
		for range count {
			waits = append(waits, int64(p.rnd.Float64()*limits[0].Interval*3e7))
		}
	}
	call.Reserve(count, waits, limits...)
	units, lost := make([]float64, len(limits)), make([]float64, len(limits))
	for j, l := range limits {
		units[j] = run.units(l)
	}
	results := make([]int64, (count+31)/32)
	for i := range count {
		if waits != nil {
			wait = float64(waits[i]) / 1e6
		}
		if run.reserve(limits, units, lost, wait) {
			results[i/32] |= 1 << (i % 32)
		}
	}
	for j, l := range limits {
		if run.set(l, units[j]) {
			run.given[l.Key] = (run.given[l.Key] + int64(math.Ceil(lost[j]*1e6))) % GCRATurn
		}
	}
	if waits == nil {
		return []int64{int64(count)}
	}
	return results
}

func repeat(n int, f func() int64) int64 {
	var sum int64
	for range n {
		sum += f()
	}
	return sum
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
