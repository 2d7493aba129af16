package scripts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
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
	now    int64
	seq    int64
	cfg    PoolConfig
	held   map[string][]int
	seen   map[string]StateVersion // of each session's last reply
	limits map[string]int64        // version of the limits that each session follows
	calm   bool                    // mostly single calls in a pool where little happens
}

func newPoolRun(data []byte) *poolRun {
	r := &poolRun{dice: newDice(data), now: 300_000_000_000_000, seq: 10, held: map[string][]int{}, seen: map[string]StateVersion{}, limits: map[string]int64{}}
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
	for i := range 1 + r.roll(4) {
		account := PoolAccount{ID: fmt.Sprint("=", i), Concurrency: max(0, r.roll(10)-6), Weight: max(0, r.roll(8)-4)}
		if r.cfg.Adaptive != nil {
			account.Concurrency = min(account.Concurrency, r.cfg.Concurrency)
		}
		for k := range r.roll(4) {
			account.Keys = append(account.Keys, PoolKeyWeight{fmt.Sprintf("k%d-%d", i, k), 1 + r.roll(3)})
		}
		r.cfg.Accounts = append(r.cfg.Accounts, account)
	}
	for i := range r.roll(5) {
		l := r.limit()
		l.Name = fmt.Sprint("limit:", i)
		r.cfg.Limits = append(r.cfg.Limits, l)
	}
	r.ownLimits()
	for i := range 1 + r.roll(3) {
		group := PoolModelGroup{Name: []string{"", "model, a", "b"}[i]}
		for l := range r.cfg.Limits {
			kind := slices.IndexFunc(r.cfg.Limits, func(o PoolLimit) bool { return o.sameKind(&r.cfg.Limits[l]) })
			if kind == l && r.roll(3) > 0 || kind < l && slices.Contains(group.Limits, kind) {
				group.Limits = append(group.Limits, l)
			}
		}
		if r.roll(3) == 0 {
			for range r.cfg.Accounts {
				group.Accounts = append(group.Accounts, r.roll(3) > 0)
			}
		}
		r.cfg.ModelGroups = append(r.cfg.ModelGroups, group)
	}
	if r.roll(2) == 0 {
		r.calmDown()
	}
	return r
}

// calmDown makes the history one of mostly single calls, which the script serves in a straight line.
func (r *poolRun) calmDown() {
	r.calm, r.cfg.Adaptive, r.cfg.Concurrency = true, nil, r.cfg.Concurrency*5
	if r.cfg.Strategy == RoundRobin {
		r.cfg.Strategy = LeastLoaded
	}
	ends := r.roll(4) == 0
	for i := range r.cfg.Limits {
		l := &r.cfg.Limits[i]
		l.Burst, l.Interval = 16*l.Burst, l.Interval/4
		l.Limit += 16 * l.Burst
		if !ends {
			l.End = 0
		}
	}
}

// ownLimits adds limits that single accounts have: some in place of one that all have.
func (r *poolRun) ownLimits() {
	for i := range r.roll(4) {
		l := r.limit()
		l.Account = r.cfg.Accounts[r.roll(len(r.cfg.Accounts))].ID
		l.Name = fmt.Sprint("own:", i)
		if at := r.roll(2 * (1 + len(r.cfg.Limits))); at < len(r.cfg.Limits) && r.cfg.Limits[at].Account == "" {
			o := r.cfg.Limits[at]
			l.Name, l.Scope, l.Metric, l.End = o.Name, o.Scope, o.Metric, o.End
		}
		same := func(o PoolLimit) bool { return o.Name == l.Name && o.Scope == l.Scope && o.Account == l.Account }
		if l.Scope != PerPool && !slices.ContainsFunc(r.cfg.Limits, same) {
			r.cfg.Limits = append(r.cfg.Limits, l)
		}
	}
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

// pass lets time pass until the next call.
func (r *poolRun) pass(calm bool) {
	if calm {
		r.now += int64(r.roll(4) * r.roll(9000))
		return
	}
	r.now += int64(r.roll(5) * r.roll(30_000))
	switch r.roll(80) {
	case 0, 1:
		r.now += 3_000_000
	case 2:
		r.now += 90_000_000
	case 3:
		r.now += 1_000_000_000
	case 4:
		r.now -= int64(1+r.roll(200)) * 20_000_000 // Redis' clock is set back
	}
}

// next is the next call.
func (r *poolRun) next() (*PoolConfig, *PoolCall) {
	calm := r.calm && r.roll(16) > 0
	cfg, c := r.nextCall(calm)
	if calm {
		c.Reports, c.Demands = nil, []PoolDemand{r.demand(cfg)}
		c.Demands[0].Count, c.Demands[0].Exclude = 1, nil
	}
	if follow := r.followLimits(cfg.Session); follow != nil {
		c.Reports = append(follow, c.Reports...)
	}
	return cfg, c
}

// followLimits is the report of the limits that a session follows, or now and then of others.
func (r *poolRun) followLimits(session string) []PoolReport {
	version, text := r.limits[session], ""
	switch r.roll(48) {
	case 0:
		version, text = version+int64(r.roll(3)), fmt.Sprint("limits ", r.roll(2))
	case 1:
		version = max(0, version-1)
	case 2:
		text = fmt.Sprint("limits ", r.roll(2))
	}
	if version == 0 {
		return nil
	}
	return []PoolReport{{Kind: FollowLimits, Units: version, Text: text}}
}

func (r *poolRun) nextCall(calm bool) (*PoolConfig, *PoolCall) {
	r.pass(calm)
	r.seq++
	cfg := r.cfg
	cfg.Session = fmt.Sprint("s ", r.roll(3))
	c := &PoolCall{Config: EncodeConfig(&cfg), Seq: r.seq, Now: r.now}
	if r.roll(20) == 0 {
		c.Seq -= 2
	}
	if r.roll(3) > 0 {
		c.Expected = r.seen[cfg.Session]
	}
	if c.Expected.Origin > 0 {
		switch r.roll(40) {
		case 0:
			c.Expected.Origin--
		case 1:
			c.Expected.Generation += int64(r.roll(3)) - 1
		case 2:
			c.Expected.Version++
		case 3:
			c.Expected.Seq++
		case 4:
			c.Expected.Sessions = r.roll(5)
		}
	}
	if r.roll(10) == 0 {
		c.Deadline = r.now + int64(r.roll(3)) - 1
	}
	held := r.held[cfg.Session]
	if held == nil {
		held = []int{}
		if cfg.permitsLimited() {
			held = make([]int, len(cfg.Accounts))
		}
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
		c.Demands = append(c.Demands, r.demand(&cfg))
	}
	return &cfg, c
}

func (r *poolRun) demand(cfg *PoolConfig) PoolDemand {
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
	return d
}

func (r *poolRun) report() PoolReport {
	p := PoolReport{
		Kind: ReportKind(r.roll(10)), Seq: int64(r.roll(2)) * max(0, r.seq-int64(r.roll(6))), For: time.Duration(r.roll(200)) * time.Millisecond,
		Block: AccountBlock(fmt.Sprint("=", r.roll(3)), ""), Reason: fmt.Sprint("why not ", r.roll(9)),
		Units: int64(r.roll(20)-10) * int64(1+r.roll(30)/29*50), Charged: int64(r.roll(2)) * (r.now - int64(r.roll(200))*1_000_000), Factor: 0.5, Quiet: time.Duration(r.roll(100)) * time.Millisecond,
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
		p.Limit, account, key = r.owner(p, account, key)
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

// owner makes a report be on a limit that its account has.
func (r *poolRun) owner(p PoolReport, account PoolAccount, key string) (limit int, its PoolAccount, itsKey string) {
	l := r.cfg.Limits[p.Limit]
	for i, o := range r.cfg.Limits {
		if o.Account == account.ID && o.Name == l.Name && o.Scope == l.Scope {
			return i, account, key
		}
	}
	for _, a := range r.cfg.Accounts {
		if a.ID == l.Account {
			if len(a.Keys) == 0 {
				return p.Limit, a, a.ID + "'s"
			}
			return p.Limit, a, a.Keys[0].ID
		}
	}
	return p.Limit, account, key
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
