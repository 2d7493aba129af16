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
	now     int64
	seq     int64
	cfg     PoolConfig
	held    map[string][]int
	version StateVersion
}

func newPoolRun(data []byte) *poolRun {
	r := &poolRun{dice: newDice(data), now: 300_000_000_000_000, seq: 10, held: map[string][]int{}}
	r.cfg = PoolConfig{
		TTL: 2 * time.Second, Horizon: time.Duration(r.roll(4)) * 25 * time.Millisecond, Metrics: 1 + r.roll(3),
		Strategy:    []Strategy{LeastLoaded, RoundRobin, FirstAvailable}[r.roll(3)],
		Concurrency: r.roll(2) * r.roll(12),
	}
	if r.cfg.Concurrency > 0 && r.roll(2) == 0 {
		r.cfg.Adaptive = &SemaphoreAdaptive{
			Gradient: r.roll(2) == 0, Min: 1, Initial: int64(1 + r.roll(r.cfg.Concurrency)), Backoff: 0.7,
			Every: time.Duration(1+r.roll(200)) * time.Millisecond, Tolerance: 1.5, Smoothing: 0.3, Queue: 2,
		}
	}
	for i := range r.roll(5) {
		l := r.limit()
		l.Name = fmt.Sprint("limit:", i)
		r.cfg.Limits = append(r.cfg.Limits, l)
	}
	for i := range 1 + r.roll(3) {
		group := PoolModelGroup{Name: []string{"", "model, a", "b"}[i]}
		for l := range r.cfg.Limits {
			if r.roll(3) > 0 {
				group.Limits = append(group.Limits, l)
			}
		}
		r.cfg.ModelGroups = append(r.cfg.ModelGroups, group)
	}
	for i := range 1 + r.roll(4) {
		account := PoolAccount{ID: fmt.Sprint("=", i)}
		for k := range r.roll(4) {
			account.Keys = append(account.Keys, PoolKeyWeight{fmt.Sprintf("k%d-%d", i, k), 1 + r.roll(3)})
		}
		r.cfg.Accounts = append(r.cfg.Accounts, account)
	}
	return r
}

func (r *poolRun) limit() PoolLimit {
	l := PoolLimit{
		Scope: []LimitScope{PerAccount, PerAccount, PerAccount, PerKey, PerPool}[r.roll(5)], Metric: r.roll(r.cfg.Metrics),
		Interval: []float64{0.001, 0.0205, 1.0 / 3, 0.05}[r.roll(4)],
		Burst:    int64(1 + r.roll(3)*r.roll(20)),
		Limit:    int64(60 + r.roll(100)),
		Grows:    r.roll(2) == 0,
	}
	if r.roll(4) == 0 {
		l.End = r.now + int64(r.roll(4_000_000))
	}
	return l
}

// targets returns how many targets each group has.
func (r *poolRun) targets() int {
	return len(EncodeConfig(&r.cfg).targets)
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
	c := &PoolCall{Config: EncodeConfig(&cfg), Seq: r.seq, Now: r.now}
	if r.roll(20) == 0 {
		c.Seq -= 2
	}
	switch r.roll(20) {
	case 0, 1, 2:
		c.Expected = r.version
	case 3:
		c.Expected = StateVersion{r.version.Generation, r.version.Version + 1}
	case 4:
		c.Expected = StateVersion{r.version.Generation + 1, r.version.Version}
	}
	if r.roll(10) == 0 {
		c.Deadline = r.now + int64(r.roll(3)) - 1
	}
	held := r.held[cfg.Session]
	if held == nil {
		held = make([]int, len(cfg.Accounts)*min(1, cfg.Concurrency))
	}
	for i := range held {
		held[i] = r.roll(held[i] + 1)
	}
	r.held[cfg.Session] = held
	c.Held = slices.Clone(held)
	for range max(0, r.roll(10)-6) {
		c.Reports = append(c.Reports, r.report())
	}
	for i := range cfg.Limits {
		if cfg.Limits[i].End > 0 && cfg.Limits[i].End <= r.now && r.roll(8) > 0 {
			cfg.Limits = slices.Clone(cfg.Limits)
			cfg.Limits[i].End = r.now + 700_000
			c.Config = EncodeConfig(&cfg)
		}
	}
	for range r.roll(4) {
		d := PoolDemand{Count: 1 + r.roll(12), ModelGroup: r.roll(len(cfg.ModelGroups)), Prefer: -1}
		d.Ahead = cfg.Horizon / time.Duration(1<<r.roll(3))
		if targets := r.targets(); targets > 0 {
			target := func() int { return d.ModelGroup*targets + r.roll(targets) }
			if r.roll(3) == 0 {
				d.Prefer = target()
			}
			for range max(0, r.roll(6)-3) {
				d.Exclude = append(d.Exclude, target())
			}
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
		Kind: ReportKind(r.roll(10)), Seq: int64(r.roll(2)) * max(0, r.seq-int64(r.roll(6))), For: time.Duration(r.roll(200)) * time.Millisecond,
		Block: AccountBlock(fmt.Sprint("=", r.roll(3)), ""), Reason: fmt.Sprint("why not ", r.roll(9)),
		Units: int64(r.roll(20) - 10), Factor: 0.5, Quiet: time.Duration(r.roll(100)) * time.Millisecond,
	}
	account := r.cfg.Accounts[r.roll(len(r.cfg.Accounts))]
	key := account.ID + "'s"
	if len(account.Keys) > 0 {
		key = account.Keys[r.roll(len(account.Keys))].ID
	}
	switch r.roll(4) {
	case 0:
	case 1:
		p.Block = AccountBlock(account.ID, r.cfg.ModelGroups[r.roll(len(r.cfg.ModelGroups))].Name)
	default:
		p.Block = KeyBlock(key)
	}
	if len(r.cfg.Limits) == 0 && p.Kind < UnlessRan {
		p.Kind = min(p.Kind, ClearBlock)
	} else if len(r.cfg.Limits) > 0 {
		p.Limit = r.roll(len(r.cfg.Limits))
		p.Owner = map[LimitScope]string{PerAccount: account.ID, PerKey: key}[r.cfg.Limits[p.Limit].Scope]
	}
	switch p.Kind {
	case SlowCounter:
		p.For += time.Second
	case AdaptPermits:
		p.Account = r.roll(len(r.cfg.Accounts))
		p.OK, p.Dropped, p.Peak, p.Units = int64(r.roll(30)), int64(r.roll(5)/3), int64(r.roll(12)), int64(r.roll(3)*r.roll(12))
	}
	return p
}

// accountOf returns the index of a target's account.
func (r *poolRun) accountOf(target int) int {
	target %= r.targets()
	if !slices.ContainsFunc(r.cfg.Limits, func(l PoolLimit) bool { return l.Scope == PerKey }) {
		return target
	}
	at := 0
	for target >= len(r.cfg.Accounts[at].Keys) {
		target -= len(r.cfg.Accounts[at].Keys)
		at++
	}
	return at
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
		if err == nil {
			if got.Version.Generation != r.version.Generation && r.version.Generation > 0 || got.Version.Version < r.version.Version {
				t.Fatalf("%+v after %+v", got.Version, r.version)
			}
			r.version, m.version, got.Version = got.Version, got.Version, StateVersion{}
		}
		if !errors.Is(err, wantErr) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\ncall %+v\n got %+v, %v\nwant %+v, %v", *cfg, *c, got, err, want, wantErr)
		}
		if err != nil {
			continue
		}
		for _, g := range got.Grants {
			if cfg.Concurrency > 0 {
				r.held[cfg.Session][r.accountOf(g.Target)]++
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
	for name := range m.targets {
		want = append(want, "r:"+name)
	}
	for name := range m.blocks {
		want = append(want, name)
	}
	for name := range m.adaptive {
		want = append(want, "d:"+wireName(name))
	}
	for name := range m.sessions {
		want = append(want, "s:"+wireName(name))
	}
	got := slices.DeleteFunc(rdb.HKeys(t.Context(), PoolKey(pool)).Val(), func(f string) bool { return f == "x" || f == "v" || f == "g" })
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

// The script and the model give equal replies and keep equal state through random histories of three sessions.
func TestPool_MatchesTheModel(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for i := range 150 {
			newPoolRun(fmt.Append(nil, "seed ", i)).check(t, rdb, 40)
		}
	})
}

// A call with excluded targets takes another, and the reply says whether there is one.
func TestPool_ExcludesTargets(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		cfg := &PoolConfig{Session: "s", TTL: time.Second, Strategy: FirstAvailable, ModelGroups: make([]PoolModelGroup, 1), Accounts: []PoolAccount{
			{"a", []PoolKeyWeight{{"a", 1}}}, {"b", []PoolKeyWeight{{"b", 1}}},
		}}
		shape, seq := EncodeConfig(cfg), int64(0)
		off := func(keys ...string) (r []PoolReport) {
			for _, k := range keys {
				r = append(r, PoolReport{Kind: DisableBlock, Block: KeyBlock(k), For: time.Hour, Reason: "revoked " + k})
			}
			return r
		}
		cool := []PoolReport{{Kind: CoolBlock, Block: KeyBlock("b"), For: time.Hour}}
		for name, test := range map[string]struct {
			reports []PoolReport
			exclude []int
			target  int
			blocked int
			reason  string
		}{
			"none":                            {nil, nil, 0, ConstraintNone, ""},
			"the first":                       {nil, []int{0}, 1, ConstraintNone, ""},
			"the second":                      {nil, []int{1}, 0, ConstraintNone, ""},
			"all":                             {nil, []int{1, 0}, -1, ConstraintExcluded, ""},
			"all but a disabled one":          {off("b"), []int{0}, -1, ConstraintExcluded, ""},
			"all but one that cools down":     {cool, []int{0}, -1, ConstraintCooldown, ""},
			"some, and all are disabled":      {off("a", "b"), []int{0}, -1, ConstraintDisabled, "revoked b"},
			"all, and all are disabled":       {off("b", "a"), []int{0, 1}, -1, ConstraintDisabled, "revoked b"},
			"all, of which some are disabled": {off("a"), []int{0, 1}, -1, ConstraintExcluded, ""},
		} {
			seq++
			reply, err := Admit(t.Context(), rdb, name, &PoolCall{Config: shape, Seq: seq, Reports: test.reports, Demands: []PoolDemand{
				{Count: 1, Prefer: 0, Exclude: test.exclude},
				{Count: 1, Prefer: -1, Exclude: test.exclude},
			}})
			if err != nil {
				t.Fatal(err)
			}
			targets := []int{}
			for _, g := range reply.Grants {
				targets = append(targets, g.Target)
			}
			want := []int{test.target, test.target}[:2*reply.Admitted[0]]
			if !slices.Equal(targets, want) || !slices.Equal(reply.Blocked, []int{test.blocked, test.blocked}) ||
				reply.Constraint != test.blocked || reply.Reason != test.reason || (test.target < 0) != (len(targets) == 0) {
				t.Errorf("%s: %+v", name, reply)
			}
		}
	})
}
