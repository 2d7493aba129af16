package scripts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// dice draws from a fuzzer's bytes, and from a generator that they seed once they are used up.
type dice struct {
	data []byte
	more *rand.Rand
}

func newDice(data []byte) *dice {
	var seed [32]byte
	copy(seed[:], data)
	return &dice{data, rand.New(rand.NewChaCha8(seed))}
}

func (d *dice) roll(n int) int {
	if len(d.data) == 0 {
		return d.more.IntN(n)
	}
	b := d.data[0]
	d.data = d.data[1:]
	return int(b) % n
}

// poolRun is a random history of calls of three sessions on one pool.
type poolRun struct {
	*dice
	now  int64
	seq  int64
	cfg  PoolConfig
	held map[string][]int
}

func newPoolRun(data []byte) *poolRun {
	r := &poolRun{dice: newDice(data), now: 300_000_000_000_000, seq: 10, held: map[string][]int{}}
	r.cfg = PoolConfig{
		TTL: 2 * time.Second, Horizon: time.Duration(r.roll(4)) * 25 * time.Millisecond, Metrics: 1 + r.roll(3),
		Strategy: []Strategy{Headroom, RoundRobin, InOrder}[r.roll(3)],
	}
	for i := range r.roll(5) {
		r.cfg.Counters = append(r.cfg.Counters, PoolCounter{
			Name: AccountLimitName("org 1", fmt.Sprint("limit:", i)), Metric: r.roll(r.cfg.Metrics),
			Interval: []float64{0.001, 0.0205, 1.0 / 3, 0.05}[r.roll(4)],
			Burst:    int64(1 + r.roll(3)*r.roll(20)),
			Limit:    int64(60 + r.roll(100)),
			Grows:    r.roll(2) == 0,
		})
		if r.roll(4) == 0 {
			r.cfg.Counters[i].End = r.now + int64(r.roll(4_000_000))
		}
	}
	for i := range r.roll(3) {
		r.cfg.Permits = append(r.cfg.Permits, PoolPermits{Name: fmt.Sprint("p,", i), Limit: r.roll(12)})
	}
	for i := range 1 + r.roll(4) {
		lane := PoolLane{Name: LaneName(fmt.Sprint("lane ", i), "", ""), Weight: 1 + r.roll(3), Permits: r.roll(len(r.cfg.Permits)+1) - 1}
		for b := range r.roll(3) {
			lane.Blocks = append(lane.Blocks, AccountBlock(fmt.Sprint("=", (i+b)/2), ""))
		}
		for c := range r.cfg.Counters {
			if r.roll(2) == 0 {
				lane.Counters = append(lane.Counters, c)
			}
		}
		for k := range r.roll(4) {
			lane.Keys = append(lane.Keys, fmt.Sprintf("k%d-%d", i, k))
		}
		r.cfg.Lanes = append(r.cfg.Lanes, lane)
	}
	return r
}

// next is the next call.
func (r *poolRun) next() (*PoolConfig, *PoolCall) {
	r.now += int64(r.roll(5) * r.roll(30_000))
	switch r.roll(80) {
	case 0, 1:
		r.now += 3_000_000
	case 2:
		r.now += 90_000_000
	}
	r.seq++
	cfg := r.cfg
	cfg.Session = fmt.Sprint("s ", r.roll(3))
	c := &PoolCall{Shape: NewPoolShape(&cfg), Seq: r.seq, Now: r.now}
	if r.roll(20) == 0 {
		c.Seq -= 2
	}
	if r.roll(10) == 0 {
		c.Deadline = r.now + int64(r.roll(3)) - 1
	}
	held := r.held[cfg.Session]
	if held == nil {
		held = make([]int, len(cfg.Permits))
	}
	for i := range held {
		held[i] = r.roll(held[i] + 1)
	}
	r.held[cfg.Session] = held
	c.Held = slices.Clone(held)
	for range max(0, r.roll(10)-6) {
		c.Reports = append(c.Reports, r.report())
	}
	for i := range cfg.Counters {
		if cfg.Counters[i].End > 0 && cfg.Counters[i].End <= r.now && r.roll(8) > 0 {
			cfg.Counters = slices.Clone(cfg.Counters)
			cfg.Counters[i].End = r.now + 700_000
			c.Shape = NewPoolShape(&cfg)
		}
	}
	for range r.roll(4) {
		d := PoolDemand{Count: 1 + r.roll(12), First: r.roll(len(cfg.Lanes)), Prefer: -1}
		d.Ahead = cfg.Horizon / time.Duration(1<<r.roll(3))
		d.Last = d.First + r.roll(len(cfg.Lanes)-d.First)
		if r.roll(3) == 0 {
			d.Prefer = d.First
		}
		for range max(0, r.roll(6)-3) {
			d.Except = append(d.Except, r.roll(len(cfg.Lanes)))
		}
		for range cfg.Metrics {
			d.Cost = append(d.Cost, int64(r.roll(3)*r.roll(9)))
		}
		c.Demands = append(c.Demands, d)
	}
	return &cfg, c
}

func (r *poolRun) report() PoolReport {
	p := PoolReport{
		Kind: ReportKind(r.roll(8)), Seq: int64(r.roll(2)) * max(0, r.seq-int64(r.roll(6))), For: time.Duration(r.roll(200)) * time.Millisecond,
		Block: AccountBlock(fmt.Sprint("=", r.roll(3)), ""), Reason: fmt.Sprint("why not ", r.roll(9)),
		Units: int64(r.roll(20) - 10), Factor: 0.5, Quiet: time.Duration(r.roll(100)) * time.Millisecond,
	}
	lane := r.cfg.Lanes[r.roll(len(r.cfg.Lanes))]
	if len(lane.Keys) > 0 && r.roll(3) > 0 {
		p.Block = KeyBlock(lane.Keys[r.roll(len(lane.Keys))])
	}
	if len(r.cfg.Counters) == 0 && p.Kind != UnlessRan {
		p.Kind = min(p.Kind, ClearBlock)
	} else if len(r.cfg.Counters) > 0 {
		p.Counter = r.roll(len(r.cfg.Counters))
	}
	if p.Kind == SlowCounter {
		p.For += time.Second
	}
	return p
}

// check runs the history on Redis and on the model, and compares every answer and what is left.
func (r *poolRun) check(t *testing.T, rdb *redis.Client, steps int) {
	t.Helper()
	m := newPoolModel()
	pool := fmt.Sprintf("p{%d}", rand.Uint64())
	for range steps {
		cfg, c := r.next()
		want, wantErr := m.admit(cfg, c)
		got, err := Admit(t.Context(), rdb, pool, c)
		if !errors.Is(err, wantErr) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\ncall %+v\n got %+v, %v\nwant %+v, %v", *cfg, *c, got, err, want, wantErr)
		}
		if err != nil {
			continue
		}
		for _, g := range got.Grants {
			if p := cfg.Lanes[g.Lane].Permits; p >= 0 {
				r.held[cfg.Session][p]++
			}
		}
		m.checkFields(t, rdb, pool)
	}
}

// checkFields compares the names of the fields in Redis with what the model keeps.
func (m *poolModel) checkFields(t *testing.T, rdb *redis.Client, pool string) {
	t.Helper()
	var want []string
	for name := range m.tat {
		want = append(want, "t:"+name)
	}
	for name := range m.used {
		want = append(want, "t:"+name)
	}
	for name := range m.pace {
		want = append(want, "f:"+name)
	}
	for name := range m.bursts {
		want = append(want, "b:"+name)
	}
	for name := range m.lanes {
		want = append(want, "r:"+name)
	}
	for name := range m.blocks {
		want = append(want, name)
	}
	for name := range m.sessions {
		want = append(want, "s:"+wireName(name))
	}
	got := slices.DeleteFunc(rdb.HKeys(t.Context(), PoolKey(pool)).Val(), func(f string) bool { return f == "x" || f == "v" })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("fields %q, want %q", got, want)
	}
}

func FuzzPool(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("one limit and three sessions"))
	f.Fuzz(func(t *testing.T, data []byte) {
		newPoolRun(data).check(t, redistest.Client(t), 30)
	})
}

func TestPoolMatchesTheModel(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for i := range 150 {
			newPoolRun(fmt.Append(nil, "seed ", i)).check(t, rdb, 40)
		}
	})
}

// A call that must not take some lanes takes the others, and hears whether there are any.
func TestPoolExcept(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		cfg := &PoolConfig{Session: "s", TTL: time.Second, Strategy: InOrder, Lanes: []PoolLane{
			{Name: LaneName("a", "", ""), Weight: 1, Permits: -1, Keys: []string{"a"}},
			{Name: LaneName("b", "", ""), Weight: 1, Permits: -1, Keys: []string{"b"}},
		}}
		shape, seq := NewPoolShape(cfg), int64(0)
		off := func(keys ...string) (r []PoolReport) {
			for _, k := range keys {
				r = append(r, PoolReport{Kind: DisableBlock, Block: KeyBlock(k), For: time.Hour, Reason: "revoked " + k})
			}
			return r
		}
		cool := []PoolReport{{Kind: CoolBlock, Block: KeyBlock("b"), For: time.Hour}}
		for name, test := range map[string]struct {
			reports []PoolReport
			except  []int
			lane    int
			blocked int
			reason  string
		}{
			"none":                            {nil, nil, 0, BindingNone, ""},
			"the first":                       {nil, []int{0}, 1, BindingNone, ""},
			"the second":                      {nil, []int{1}, 0, BindingNone, ""},
			"all":                             {nil, []int{1, 0}, -1, BindingExcluded, ""},
			"all but a disabled one":          {off("b"), []int{0}, -1, BindingExcluded, ""},
			"all but one that cools down":     {cool, []int{0}, -1, BindingCooldown, ""},
			"some, and all are disabled":      {off("a", "b"), []int{0}, -1, BindingDisabled, "revoked b"},
			"all, and all are disabled":       {off("b", "a"), []int{0, 1}, -1, BindingDisabled, "revoked b"},
			"all, of which some are disabled": {off("a"), []int{0, 1}, -1, BindingExcluded, ""},
		} {
			seq++
			reply, err := Admit(t.Context(), rdb, name, &PoolCall{Shape: shape, Seq: seq, Reports: test.reports, Demands: []PoolDemand{
				{Count: 1, First: 0, Last: 1, Prefer: 0, Except: test.except},
				{Count: 1, First: 0, Last: 1, Prefer: -1, Except: test.except},
			}})
			if err != nil {
				t.Fatal(err)
			}
			lanes := []int{}
			for _, g := range reply.Grants {
				lanes = append(lanes, g.Lane)
			}
			want := []int{test.lane, test.lane}[:2*reply.Admitted[0]]
			if !slices.Equal(lanes, want) || !slices.Equal(reply.Blocked, []int{test.blocked, test.blocked}) ||
				reply.Binding != test.blocked || reply.Reason != test.reason || (test.lane < 0) != (len(lanes) == 0) {
				t.Errorf("%s: %+v", name, reply)
			}
		}
	})
}
