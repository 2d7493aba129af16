package scripts

import (
	"slices"
	"strconv"
	"sync"
)

// lookFirst is how many targets a demand looks at before it looks at all. One for every callsPerTarget calls is added.
const lookFirst, callsPerTarget = 2, 16

// poolArgs encodes calls. It is used again and again, so that a call costs few allocations.
type poolArgs struct {
	pool, key string
	args      []any
	integers  []int64 // that args point to: an integer in an interface would be an allocation
	held      heldText
	limits    []int       // of each limit, its number in the call, from 1; 0: not sent
	order     []int       // the limits that are sent
	numbers   []int       // of each model group, its number in the call, from 1; 0: not sent
	groups    []sentGroup // those that are sent
	first     []int       // of all demands, the positions of the targets that they look at first
	ends      []int       // of each demand, where its part of first ends
	list      []int       // candidates of one demand
	tenants   []int       // of each tenant, its number in the call, from 1; 0: not sent
}

// sentGroup is a model group as one call sends it.
type sentGroup struct {
	index     int
	sent      []int // numbers of the targets that the demands look at first
	positions []int // of each of the group's targets, its place in sent, from 1; 0: not sent
}

// heldText is a text argument that is written in place.
type heldText []byte

// MarshalBinary returns the text.
func (t *heldText) MarshalBinary() ([]byte, error) { return *t, nil }

var poolArgsPool = sync.Pool{New: func() any { return &poolArgs{} }}

// integer returns an integer as an argument.
func (a *poolArgs) integer(n int64) any {
	if n >= 0 && n < 256 {
		return int(n) // the runtime has these in interfaces already
	}
	a.integers = append(a.integers, n)
	return &a.integers[len(a.integers)-1]
}

func (a *poolArgs) add(n int) { a.args = append(a.args, a.integer(int64(n))) }

// encode writes a call as a command. The command's first two elements are left to script.ints.
func (a *poolArgs) encode(pool string, p *PoolCall) []any {
	c := p.Config
	if a.pool != pool || a.key == "" {
		a.pool, a.key = pool, PoolKey(pool)
	}
	a.begin(p)
	now := ""
	if p.Now != 0 {
		now = seconds(p.Now)
	}
	e := p.Expected
	a.args = append(a.args[:0], nil, nil, 1, &a.key)
	a.args = append(a.args, c.args...)
	if now == "" {
		a.args = append(a.args, "")
	} else {
		a.args = append(a.args, now)
	}
	a.args = append(a.args, a.integer(p.Deadline), a.integer(p.Seq), a.integer(e.Origin), a.integer(e.Generation),
		a.integer(e.Version), a.integer(e.Seq), a.integer(int64(e.Sessions)), &a.held)
	a.add(len(a.order))
	for _, l := range a.order {
		a.args = append(a.args, c.limits[l]...)
	}
	a.add(len(a.groups))
	for i := range a.groups {
		a.addGroup(c, &a.groups[i])
	}
	a.add(len(p.Reports))
	for i := range p.Reports {
		a.args = p.Reports[i].append(a.args, c, a.limits)
	}
	a.addTenants(p)
	from := 0
	for i := range p.Demands {
		a.addDemand(c, &p.Demands[i], a.first[from:a.ends[i]])
		from = a.ends[i]
	}
	return a.args
}

// begin works out what the call touches. Limits and model groups are numbered as they are first used.
func (a *poolArgs) begin(p *PoolCall) {
	c := p.Config
	a.integers, a.order, a.groups, a.first, a.ends = a.integers[:0], a.order[:0], a.groups[:0], a.first[:0], a.ends[:0]
	a.limits = zeroed(a.limits, len(c.limits))
	a.numbers = zeroed(a.numbers, len(c.groups))
	a.held = a.held[:0]
	for i, n := range p.Held {
		if n > 0 {
			if len(a.held) > 0 {
				a.held = append(a.held, ',')
			}
			a.held = append(append(a.held, c.accounts[i]...), '=')
			a.held = strconv.AppendInt(a.held, int64(n), 10)
		}
	}
	for i := range p.Demands {
		d := &p.Demands[i]
		g := a.group(c, d.ModelGroup)
		var all bool
		a.list, all = p.candidates(d, a.list[:0])
		for _, number := range a.list {
			a.first = append(a.first, g.position(number))
		}
		a.ends = append(a.ends, len(a.first))
		for number := 1; all && number <= len(c.groups[d.ModelGroup].open); number++ {
			g.position(number)
		}
	}
	for i := range p.Reports {
		if p.Reports[i].onCounter() {
			a.limit(p.Reports[i].Limit)
		}
	}
}

// zeroed returns n zeros, in the same array if it is long enough.
func zeroed(list []int, n int) []int {
	if cap(list) < n {
		return make([]int, n)
	}
	list = list[:n]
	clear(list)
	return list
}

func (a *poolArgs) limit(limit int) {
	if a.limits[limit] == 0 {
		a.order = append(a.order, limit)
		a.limits[limit] = len(a.order)
	}
}

func (a *poolArgs) group(c *EncodedConfig, index int) *sentGroup {
	if at := a.numbers[index]; at > 0 {
		return &a.groups[at-1]
	}
	n := len(a.groups)
	if n < cap(a.groups) {
		a.groups = a.groups[:n+1] // with the arrays of an earlier call
	} else {
		a.groups = append(a.groups, sentGroup{})
	}
	a.numbers[index] = n + 1
	g := &a.groups[n]
	g.index, g.sent, g.positions = index, g.sent[:0], zeroed(g.positions, len(c.groups[index].open))
	for _, l := range c.groups[index].limits {
		a.limit(l)
	}
	return g
}

// position returns the place of a target, by its number, among those that are sent, from 1.
func (g *sentGroup) position(number int) int {
	if g.positions[number-1] == 0 {
		g.sent = append(g.sent, number)
		g.positions[number-1] = len(g.sent)
	}
	return g.positions[number-1]
}

func (a *poolArgs) addGroup(c *EncodedConfig, g *sentGroup) {
	its := &c.groups[g.index]
	a.args = append(a.args, its.name)
	a.add(len(its.limits))
	for _, l := range its.limits {
		a.add(a.limits[l])
	}
	a.add(len(its.open))
	if len(g.sent) == len(its.open) {
		a.args = append(a.args, "")
	} else {
		a.args = append(a.args, its.list)
	}
	a.add(len(g.sent))
	for _, number := range g.sent {
		a.args = append(a.args, its.entries[number-1])
	}
}

func (a *poolArgs) addDemand(c *EncodedConfig, d *PoolDemand, candidates []int) {
	its := &c.groups[d.ModelGroup]
	base := d.ModelGroup * len(c.targets)
	prefer := 0
	if d.Prefer >= 0 {
		prefer = its.numbers[d.Prefer-base]
	}
	a.add(d.Count)
	a.add(a.numbers[d.ModelGroup])
	a.args = append(a.args, a.integer(d.Ahead.Microseconds()))
	a.add(prefer)
	at := len(a.args)
	a.args = append(a.args, nil)
	excluded := 0
	for i, target := range d.Exclude {
		if number := its.numbers[target-base]; number > 0 && !slices.Contains(d.Exclude[:i], target) {
			a.add(number)
			excluded++
		}
	}
	a.args[at] = a.integer(int64(excluded))
	a.add(len(candidates))
	for _, position := range candidates {
		a.add(position)
	}
	for _, cost := range d.Cost {
		a.args = append(a.args, a.integer(cost))
	}
}

// candidates appends the numbers of the targets that a demand looks at first, in the order in which the script takes
// equal ones, and reports whether they are all that the model group has.
func (p *PoolCall) candidates(d *PoolDemand, list []int) ([]int, bool) {
	c := p.Config
	its := &c.groups[d.ModelGroup]
	n, base := len(its.open), d.ModelGroup*len(c.targets)
	some := max(lookFirst, d.Count/callsPerTarget)
	all := n <= some || c.strategy == RoundRobin
	first := 0
	if n > 0 && c.strategy != FirstAvailable {
		turn := uint64(p.Seq - 1)
		if !all {
			turn += c.hash // so that sessions look at different targets
		}
		first = int(turn % uint64(n))
	}
	for i := range n {
		at := (first + i) % n
		if !all && len(list) >= some {
			break
		}
		if !slices.Contains(d.Exclude, base+its.open[at]) {
			list = append(list, at+1)
		}
	}
	if d.Prefer >= 0 && !slices.Contains(d.Exclude, d.Prefer) {
		if number := its.numbers[d.Prefer-base]; number > 0 && !slices.Contains(list, number) {
			list = append(list, number)
		}
	}
	return list, all
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
	case RampUp:
		return append(a, "ramp", r.For.Seconds())
	case FollowLimits:
		return append(a, "limits", r.Units, r.Text)
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
