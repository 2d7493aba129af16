package scripts

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// PoolState is the state of a pool in Redis. Blocks and counters are named by the functions KeyBlock, AccountLimitName etc.
type PoolState struct {
	Now      int64 // microseconds since 2017
	Blocks   map[string]BlockState
	Counters map[string]CounterState
	Sessions map[string]SessionState
	Permits  map[string]float64 // by account, where the number adapts
	// LimitsVersion and Limits are the limits that rule in place of configured ones, as FollowLimits gave them; 0: none do.
	LimitsVersion int64
	Limits        string
	// Unreadable is how many fields could not be read, and were dropped, since the pool's beginning.
	Unreadable int

	offset int64 // of the pool's clock, in microseconds
}

// BlockState is a key or account that isn't used.
type BlockState struct {
	Until  time.Duration // from now; not positive: disabled, and the next call tests it
	Off    bool
	Reason string
}

// CounterState is how far a limit is used.
type CounterState struct {
	Ahead time.Duration // by how much the theoretical arrival time is ahead of now; not positive: unused
	Used  int64         // of a count: units used
	Ends  time.Duration // of a count: from now until it starts anew; else 0
	Pace  float64       // share of its rate at which it is used, in (0, 1]
}

// SessionState is one process in the pool.
type SessionState struct {
	Ends              time.Duration // from now, unless it calls again
	Waiting           int           // calls
	WaitingForPermits int           // of these, how many wait for permits
	Held              map[string]int
}

// InspectPool reads the pool's state by commands that read only. It may be repeated.
func InspectPool(ctx context.Context, c Client, pool string) (*PoolState, error) {
	key := PoolKey(pool)
	now, fields, err := readHash(ctx, c, key)
	if err != nil {
		return nil, newError("pool_inspect", []string{key}, err)
	}
	s := &PoolState{
		Now: now, Blocks: map[string]BlockState{}, Counters: map[string]CounterState{}, Sessions: map[string]SessionState{},
		Permits: map[string]float64{},
	}
	if header := strings.Fields(fields["g"]); len(header) == 10 {
		offset, _ := strconv.ParseFloat(header[4], 64)
		s.offset = int64(offset * 1e6)
	}
	for name, value := range fields {
		s.field(name, value)
	}
	return s, nil
}

// field decodes one field of the HASH. Fields that it can't read are left out.
func (s *PoolState) field(name, value string) {
	kind, rest, _ := strings.Cut(name, ":")
	words := strings.Fields(value)
	switch {
	case kind == "s" && len(words) >= 9:
		if id, err := url.PathUnescape(rest); err == nil && (words[3] != "0" || words[8] != "0") {
			s.Sessions[id] = s.session(words)
		}
	case kind == "t" && len(words) > 0:
		s.Counters[rest] = s.counter(words)
	case kind == "d" && len(words) > 0:
		if account, err := url.PathUnescape(rest); err == nil {
			s.Permits[account], _ = strconv.ParseFloat(words[0], 64)
		}
	case isBlock(kind) && len(words) >= 2:
		_, reason, _ := strings.Cut(value[len(words[0])+1:], " ")
		kind, _, _ := strings.Cut(words[1], ":")
		s.Blocks[name] = BlockState{Until: s.from(words[0]), Off: kind != "cool", Reason: reason}
	case name == "l" && len(words) > 0:
		s.LimitsVersion, _ = strconv.ParseInt(words[0], 10, 64)
		_, s.Limits, _ = strings.Cut(value, " ")
	case name == "c" && len(words) == 2:
		s.Unreadable, _ = strconv.Atoi(words[1])
	}
}

// isBlock reports whether a field of a kind is a block, of a key, an account or a model there.
func isBlock(kind string) bool { return kind == "k" || kind == "a" || kind == "m" }

// from returns the time from now until a moment of the pool's clock, in seconds since 2017.
func (s *PoolState) from(text string) time.Duration {
	at, _ := strconv.ParseFloat(text, 64)
	return time.Duration((at*1e6 - float64(s.Now+s.offset)) * 1e3)
}

func (s *PoolState) counter(words []string) CounterState {
	if words[0] == "c" && len(words) == 3 {
		used, _ := strconv.ParseInt(words[2], 10, 64)
		return CounterState{Ends: s.from(words[1]) + time.Duration(s.offset)*time.Microsecond, Used: used, Pace: 1}
	}
	c := CounterState{Ahead: s.from(words[0]), Pace: 1}
	if len(words) == 6 {
		share, _ := strconv.ParseFloat(words[3], 64)
		recovery, _ := strconv.ParseFloat(words[5], 64)
		c.Pace = min(1, share-s.from(words[4]).Seconds()/max(recovery, 1e-9))
	}
	return c
}

func (s *PoolState) session(words []string) SessionState {
	out := SessionState{Ends: s.from(words[0]), Held: map[string]int{}}
	out.Waiting, _ = strconv.Atoi(words[3])
	out.WaitingForPermits, _ = strconv.Atoi(words[4])
	if len(words) < 10 {
		return out
	}
	for pair := range strings.SplitSeq(words[9], ",") {
		name, n, ok := strings.Cut(pair, "=")
		if name, err := url.PathUnescape(name); ok && err == nil {
			out.Held[name], _ = strconv.Atoi(n)
		}
	}
	return out
}
