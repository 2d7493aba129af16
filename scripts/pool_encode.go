package scripts

import (
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// EncodedConfig is a PoolConfig encoded for sending. It is safe for concurrent use.
type EncodedConfig struct {
	args     []any // what every call begins with
	metrics  int
	strategy Strategy
	limits   [][]any // the arguments of each limit
	groups   []PoolModelGroup
	targets  []int    // of each group, in order: how many keys each has
	entries  []string // of each target of a group: as the script reads it
	list     string   // all of them
	accounts []string // names
	permits  []int    // by account
	hash     uint64   // of the session
}

// EncodeConfig encodes a PoolConfig.
func EncodeConfig(c *PoolConfig) *EncodedConfig {
	s := &EncodedConfig{metrics: c.Metrics, strategy: c.Strategy, groups: c.ModelGroups}
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Session))
	s.hash = h.Sum64()
	byKey := false
	for i := range c.Limits {
		s.limits = append(s.limits, limitArgs(i, &c.Limits[i]))
		byKey = byKey || c.Limits[i].Scope == PerKey
	}
	var permits []string
	for _, a := range c.Accounts {
		n := a.Concurrency
		if n == 0 {
			n = c.Concurrency
		}
		s.accounts, s.permits = append(s.accounts, wireName(a.ID)), append(s.permits, n)
		if c.Concurrency > 0 {
			permits = append(permits, wireName(a.ID)+"="+strconv.Itoa(n))
		}
		s.account(a, n, byKey)
	}
	for i := range s.entries {
		s.entries[i] = strconv.Itoa(i+1) + " " + s.entries[i]
	}
	s.list = strings.Join(s.entries, "\n") + "\n"
	s.args = []any{
		wireName(c.Session), fraction(c.TTL.Seconds()), fraction(c.Horizon.Seconds()), string(c.Strategy), strconv.Itoa(c.Metrics),
		strings.Join(permits, ","), adaptiveArg(c.Adaptive),
	}
	return s
}

func fraction(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// adaptiveArg writes how the numbers of permits adapt.
func adaptiveArg(a *SemaphoreAdaptive) string {
	if a == nil {
		return ""
	}
	latency := "0"
	if a.Gradient {
		latency = "1"
	}
	return strings.Join([]string{
		latency, strconv.FormatInt(a.Min, 10), strconv.FormatInt(a.Initial, 10), fraction(a.Backoff),
		strconv.FormatInt(a.Every.Microseconds(), 10), fraction(a.Tolerance), fraction(a.Smoothing), fraction(a.Queue),
	}, " ")
}

// period is how long a unit of a limit counts at the provider, in seconds.
func (l *PoolLimit) period() float64 {
	if l.Period > 0 {
		return l.Period.Seconds()
	}
	return float64(l.Limit) * l.Interval
}

func limitArgs(i int, l *PoolLimit) []any {
	grows, end := "0", "0"
	if l.Grows {
		grows = "1"
	}
	if l.End != 0 {
		end = seconds(l.End)
	}
	return []any{
		strconv.Itoa(i), wireName(l.Name), string(l.Scope), strconv.Itoa(l.Metric + 1), fraction(l.Interval),
		strconv.FormatInt(l.Burst, 10), strconv.FormatInt(l.Limit, 10), grows, end, fraction(l.period()),
	}
}

// account adds the targets of an account.
func (s *EncodedConfig) account(a PoolAccount, permits int, byKey bool) {
	add := func(weight int, perKey string, keys ...string) {
		s.targets = append(s.targets, len(keys))
		s.entries = append(s.entries, strings.Join([]string{
			wireName(a.ID), strconv.Itoa(permits), strconv.Itoa(weight), perKey, strings.Join(keys, ","),
		}, " "))
	}
	most := 1
	var names []string
	for _, k := range a.Keys {
		most = max(most, k.Weight)
		names = append(names, wireName(k.ID))
		if byKey {
			add(max(1, k.Weight), "1", wireName(k.ID))
		}
	}
	if !byKey {
		add(most, "0", names...)
	}
}

// has reports whether a model group has such a target, and that target such a key.
func (s *EncodedConfig) has(target, key int) bool {
	return target >= 0 && target < len(s.targets) && key >= 0 && key < s.targets[target]
}

// local returns the script's number of a target: within its model group, from 1.
func (s *EncodedConfig) local(group, target int) int { return target - group*len(s.targets) + 1 }

// lookFirst is how many targets a demand looks at before it looks at all. One for every callsPerTarget calls is added.
const lookFirst, callsPerTarget = 2, 16

// candidates returns the targets that a demand looks at first, from 0, in the order in which the script takes equal ones;
// and whether they are all that the model group has.
func (p *PoolCall) candidates(d *PoolDemand) (list []int, all bool) {
	c := p.Config
	n := len(c.targets)
	some := max(lookFirst, d.Count/callsPerTarget)
	all = n <= some || c.strategy == RoundRobin
	first := 0
	if n > 0 && c.strategy != FirstAvailable {
		turn := uint64(p.Seq - 1)
		if !all {
			turn += c.hash // so that sessions look at different targets
		}
		first = int(turn % uint64(n))
	}
	base := d.ModelGroup * n
	for i := range n {
		target := (first + i) % n
		if !all && len(list) >= some {
			break
		}
		if !slices.Contains(d.Exclude, base+target) {
			list = append(list, target)
		}
	}
	if prefer := d.Prefer - base; d.Prefer >= 0 && !slices.Contains(list, prefer) && !slices.Contains(d.Exclude, d.Prefer) {
		list = append(list, prefer)
	}
	return list, all
}

// sentGroup is a model group as one call sends it.
type sentGroup struct {
	number int   // from 1
	sent   []int // the targets that the demands look at first, from 0
	at     map[int]int
}

// position returns the place of a target among those that are sent, from 1.
func (g *sentGroup) position(target int) int {
	at, ok := g.at[target]
	if !ok {
		g.sent = append(g.sent, target)
		at = len(g.sent)
		g.at[target] = at
	}
	return at
}

// sent is what one call sends of the configuration. Limits and model groups are numbered as they are first used.
type sent struct {
	limits  []int // numbers, from 1; 0: not sent
	order   []int // the limits that are sent
	groups  map[int]*sentGroup
	used    []int   // the model groups that are sent
	demands [][]int // of each demand, the positions of the targets that it looks at first
}

func (s *sent) limit(limit int) {
	if s.limits[limit] == 0 {
		s.order = append(s.order, limit)
		s.limits[limit] = len(s.order)
	}
}

func (s *sent) group(c *EncodedConfig, index int) *sentGroup {
	g := s.groups[index]
	if g == nil {
		s.used = append(s.used, index)
		g = &sentGroup{number: len(s.used), at: map[int]int{}}
		s.groups[index] = g
		for _, l := range c.groups[index].Limits {
			s.limit(l)
		}
	}
	return g
}

// sent works out what the call touches.
func (p *PoolCall) sent() *sent {
	c := p.Config
	s := &sent{limits: make([]int, len(c.limits)), groups: map[int]*sentGroup{}, demands: make([][]int, len(p.Demands))}
	for i := range p.Demands {
		d := &p.Demands[i]
		g := s.group(c, d.ModelGroup)
		list, all := p.candidates(d)
		for _, target := range list {
			s.demands[i] = append(s.demands[i], g.position(target))
		}
		if all {
			for target := range c.targets {
				g.position(target)
			}
		}
	}
	for i := range p.Reports {
		if p.Reports[i].onCounter() {
			s.limit(p.Reports[i].Limit)
		}
	}
	return s
}

func (p *PoolCall) args() []any {
	c, s := p.Config, p.sent()
	now := ""
	if p.Now != 0 {
		now = seconds(p.Now)
	}
	e := p.Expected
	a := make([]any, 0, len(c.args)+64+8*len(p.Reports)+(20+c.metrics)*len(p.Demands))
	a = append(a, c.args...)
	a = append(a, now, seconds(p.Deadline), p.Seq, e.Origin, e.Generation, e.Version, e.Seq, e.Sessions, p.held(), len(s.order))
	for _, l := range s.order {
		a = append(a, c.limits[l]...)
	}
	a = append(a, len(s.used))
	for _, index := range s.used {
		a = c.appendGroup(a, index, s.groups[index], s.limits)
	}
	a = append(a, len(p.Reports))
	for i := range p.Reports {
		a = p.Reports[i].append(a, c, s.limits)
	}
	a = append(a, len(p.Demands))
	for i := range p.Demands {
		a = p.appendDemand(a, &p.Demands[i], s.groups[p.Demands[i].ModelGroup].number, s.demands[i])
	}
	return a
}

func (s *EncodedConfig) appendGroup(a []any, index int, g *sentGroup, limits []int) []any {
	group := &s.groups[index]
	a = append(a, wireName(group.Name), len(group.Limits))
	for _, l := range group.Limits {
		a = append(a, limits[l])
	}
	list := s.list
	if len(g.sent) == len(s.targets) {
		list = ""
	}
	a = append(a, len(s.targets), list, len(g.sent))
	for _, target := range g.sent {
		a = append(a, s.entries[target])
	}
	return a
}

func (p *PoolCall) appendDemand(a []any, d *PoolDemand, group int, candidates []int) []any {
	prefer := 0
	if d.Prefer >= 0 {
		prefer = p.Config.local(d.ModelGroup, d.Prefer)
	}
	a = append(a, d.Count, group, d.Ahead.Seconds(), prefer, len(d.Exclude))
	for _, target := range d.Exclude {
		a = append(a, p.Config.local(d.ModelGroup, target))
	}
	a = append(a, len(candidates))
	for _, at := range candidates {
		a = append(a, at)
	}
	for _, c := range d.Cost {
		a = append(a, c)
	}
	return a
}

// held writes the permits that the session holds.
func (p *PoolCall) held() string {
	var b strings.Builder
	for i, n := range p.Held {
		if n > 0 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(p.Config.accounts[i])
			b.WriteByte('=')
			b.WriteString(strconv.Itoa(n))
		}
	}
	return b.String()
}

// onCounter reports whether a report is on a counter.
func (r *PoolReport) onCounter() bool { return r.Kind >= SettleCounter && r.Kind <= SlowCounter }

func (r *PoolReport) append(a []any, c *EncodedConfig, limits []int) []any {
	limit, owner := 0, ""
	if r.onCounter() {
		limit, owner = limits[r.Limit], wireName(r.Owner)
	}
	switch r.Kind {
	case CoolBlock, DisableBlock:
		return r.appendBlock(a)
	case ClearBlock:
		return append(a, "clear", r.Block)
	case CalmBlock:
		return append(a, "calm", r.Block)
	case SettleCounter:
		return append(a, "settle", limit, owner, r.Units, seconds(r.Charged))
	case HoldCounter:
		return append(a, "hold", limit, owner, r.For.Seconds())
	case UsedCounter:
		return append(a, "used", limit, owner, r.Units)
	case BookCounter:
		return append(a, "booked", limit, owner, r.For.Seconds())
	case AdaptPermits:
		return append(a, "adapt", c.accounts[r.Account], c.permits[r.Account], r.OK, r.Dropped, r.For.Microseconds(), r.Peak, r.Units)
	case UnlessRan:
		return append(a, "unless", r.Seq)
	default:
		return append(a, "slow", limit, owner, r.Factor, r.For.Seconds(), r.Quiet.Seconds())
	}
}

// appendBlock encodes a block.
func (r *PoolReport) appendBlock(a []any) []any {
	kind := "cool"
	if r.Kind == DisableBlock {
		kind = "off"
	}
	if r.Factor >= 1 {
		return append(a, "grow", kind, r.Block, r.For.Seconds(), r.Factor, r.Most.Seconds(), r.Reason)
	}
	return append(a, kind, r.Block, r.For.Seconds(), r.Reason)
}
