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
	groups   []encodedGroup
	targets  []encodedTarget // of each group, in order
	accounts []string        // names
	permits  []int           // by account
	limited  bool            // permits are
	hash     uint64          // of the session
	tenants  []encodedTenant
	guarded  bool // some tenant is guaranteed a share
}

// encodedTarget is an account, or a key of it.
type encodedTarget struct {
	account int
	keys    int
	text    string // account, permits, weight, 1 if it is a key, keys
}

// encodedGroup is a model group. Its targets are numbered without those that lack keys or the group's models.
type encodedGroup struct {
	name    any
	limits  []int // of PoolConfig.Limits
	open    []int // the targets, by index
	numbers []int // of each target, from 1; 0: it isn't one of the group
	entries []any // of each of open: as the script reads it
	list    any   // all of them
}

// EncodeConfig encodes a PoolConfig.
func EncodeConfig(c *PoolConfig) *EncodedConfig {
	s := &EncodedConfig{metrics: c.Metrics, strategy: c.Strategy}
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Session))
	s.hash = h.Sum64()
	byKey, own := false, false
	for i := range c.Limits {
		s.limits = append(s.limits, limitArgs(i, &c.Limits[i]))
		byKey = byKey || c.Limits[i].Scope == PerKey
		own = own || c.Limits[i].Account != ""
	}
	var permits []string
	s.limited = c.permitsLimited()
	for i, a := range c.Accounts {
		n := c.permitsOf(i)
		s.accounts, s.permits = append(s.accounts, wireName(a.ID)), append(s.permits, n)
		if s.limited {
			permits = append(permits, wireName(a.ID)+"="+strconv.Itoa(n))
		}
		s.addTargets(i, &a, n, byKey)
	}
	for i := range c.ModelGroups {
		g := &c.ModelGroups[i]
		if i > 0 && !own && g.Accounts == nil && c.ModelGroups[0].Accounts == nil {
			same := s.groups[0] // all but the name and the limits
			same.name, same.limits = wireName(g.Name), g.Limits
			s.groups = append(s.groups, same)
			continue
		}
		s.addGroup(c, g)
	}
	s.encodeTenants(c.Tenants)
	s.args = []any{
		wireName(c.Session), fraction(c.TTL.Seconds()), fraction(c.Horizon.Seconds()), string(c.Strategy), strconv.Itoa(c.Metrics),
		strings.Join(permits, ","), adaptiveArg(c.Adaptive),
	}
	return s
}

// permitsLimited reports whether an account has a limit on calls in flight.
func (c *PoolConfig) permitsLimited() bool {
	return c.Concurrency > 0 || slices.ContainsFunc(c.Accounts, func(a PoolAccount) bool { return a.Concurrency > 0 })
}

// anyNumber is how many permits an account has that has no limit, where another one has.
const anyNumber = 1_000_000

// permitsOf returns how many calls an account may have in flight.
func (c *PoolConfig) permitsOf(account int) int {
	switch n := c.Accounts[account].Concurrency; {
	case n > 0:
		return n
	case c.Concurrency == 0 && c.permitsLimited():
		return anyNumber
	default:
		return c.Concurrency
	}
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
	n := l.numbers()
	return []any{
		strconv.Itoa(i), wireName(l.Name), string(l.Scope), strconv.Itoa(l.Metric + 1), n[0], n[1], n[2], n[3], n[4], n[5],
	}
}

// numbers returns interval, burst, limit, whether the burst grows, end and period.
func (l *PoolLimit) numbers() [6]string {
	grows, end := "0", "0"
	if l.Grows {
		grows = "1"
	}
	if l.End != 0 {
		end = seconds(l.End)
	}
	return [6]string{
		fraction(l.Interval), strconv.FormatInt(l.Burst, 10), strconv.FormatInt(l.Limit, 10), grows, end, fraction(l.period()),
	}
}

// addTargets adds the targets of an account.
func (s *EncodedConfig) addTargets(index int, a *PoolAccount, permits int, byKey bool) {
	add := func(weight int, perKey string, keys ...string) {
		text := strings.Join([]string{
			wireName(a.ID), strconv.Itoa(permits), strconv.Itoa(weight), perKey, strings.Join(keys, ","),
		}, " ")
		s.targets = append(s.targets, encodedTarget{index, len(keys), text})
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
	if a.Weight > 0 {
		most = a.Weight
	}
	if !byKey {
		add(most, "0", names...)
	}
}

// addGroup adds a model group.
func (s *EncodedConfig) addGroup(c *PoolConfig, g *PoolModelGroup) {
	out := encodedGroup{name: wireName(g.Name), limits: g.kinds(c), numbers: make([]int, len(s.targets))}
	var list strings.Builder
	for i, t := range s.targets {
		if t.keys == 0 || g.Accounts != nil && !g.Accounts[t.account] {
			continue
		}
		out.open = append(out.open, i)
		out.numbers[i] = len(out.open)
		text := strconv.Itoa(len(out.open)) + " " + t.text
		if own := g.ownLimits(c, out.limits, c.Accounts[t.account].ID); own != "" {
			text += " " + own
		}
		out.entries = append(out.entries, text)
		list.WriteString(text + "\n")
	}
	out.list = list.String()
	s.groups = append(s.groups, out)
}

// kinds returns the limits of a model group, of each name and scope one: that of all accounts, else that of one account.
func (g *PoolModelGroup) kinds(c *PoolConfig) []int {
	var kinds []int
	for _, l := range g.Limits {
		at := slices.IndexFunc(kinds, func(o int) bool { return c.Limits[o].sameKind(&c.Limits[l]) })
		switch {
		case at < 0:
			kinds = append(kinds, l)
		case c.Limits[l].Account == "":
			kinds[at] = l
		}
	}
	return kinds
}

// sameKind reports whether one account can have only one of two limits.
func (l *PoolLimit) sameKind(o *PoolLimit) bool { return l.Name == o.Name && l.Scope == o.Scope }

// LimitsOf returns the limits that an account has in a model group, by index in PoolConfig.Limits. The order is that of
// the group's kinds of limits; -1: the account has none of that kind.
func (c *PoolConfig) LimitsOf(group int, account string) []int {
	g := &c.ModelGroups[group]
	kinds := g.kinds(c)
	for i, l := range kinds {
		kinds[i] = g.limitOf(c, l, account)
	}
	return kinds
}

// limitOf returns an account's limit of the kind of another limit; -1: it has none.
func (g *PoolModelGroup) limitOf(c *PoolConfig, kind int, account string) int {
	found := -1
	for _, l := range g.Limits {
		if o := &c.Limits[l]; o.sameKind(&c.Limits[kind]) && (o.Account == account || o.Account == "" && found < 0) {
			found = l
		}
	}
	return found
}

// ownLimits writes what an account's limits differ in from those of a model group.
func (g *PoolModelGroup) ownLimits(c *PoolConfig, kinds []int, account string) string {
	var own []string
	for i, kind := range kinds {
		switch l := g.limitOf(c, kind, account); {
		case l == kind:
		case l < 0:
			own = append(own, strconv.Itoa(i+1)+"=-")
		default:
			n := c.Limits[l].numbers()
			own = append(own, strconv.Itoa(i+1)+"="+strconv.Itoa(l)+"/"+strings.Join(n[:], "/"))
		}
	}
	return strings.Join(own, ",")
}
