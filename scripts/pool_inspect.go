package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed pool_inspect.lua
var poolInspectLua string

var poolInspectScript = newScript("pool_inspect", coreLua, poolInspectLua)

// PoolState is the state of a pool in Redis. Blocks and counters are named by the functions KeyBlock, AccountLimitName etc.
type PoolState struct {
	Now      int64 // microseconds since 2017
	Blocks   map[string]BlockState
	Counters map[string]CounterState
	Sessions map[string]SessionState
	Permits  map[string]float64 // by account, where the number follows what calls meet
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

// InspectPool reads the pool's state. It may be repeated.
func InspectPool(ctx context.Context, c Client, pool string) (*PoolState, error) {
	keys := []string{PoolKey(pool)}
	v, err := poolInspectScript.run(ctx, c, keys, nil)
	if err != nil {
		return nil, err
	}
	state, err := decodePoolState(v)
	if err != nil {
		return nil, newError(poolInspectScript.name, keys, err)
	}
	return state, nil
}

func decodePoolState(v any) (*PoolState, error) {
	r, ok := v.([]any)
	if !ok || len(r)%2 != 1 {
		return nil, fmt.Errorf("unexpected reply %v", v)
	}
	s := &PoolState{
		Blocks: map[string]BlockState{}, Counters: map[string]CounterState{}, Sessions: map[string]SessionState{},
		Permits: map[string]float64{},
	}
	if s.Now, ok = r[0].(int64); !ok {
		return nil, fmt.Errorf("unexpected reply: the time is %v", r[0])
	}
	paces := map[string]float64{}
	for i := 1; i < len(r); i += 2 {
		name, _ := r[i].(string)
		value, _ := r[i+1].(string)
		s.field(name, value, paces)
	}
	for name, c := range s.Counters {
		c.Pace = 1
		if pace, ok := paces[name]; ok {
			c.Pace = pace
		}
		s.Counters[name] = c
	}
	return s, nil
}

// field decodes one field of the HASH.
func (s *PoolState) field(name, value string, paces map[string]float64) {
	kind, rest, _ := strings.Cut(name, ":")
	words := strings.SplitN(value, " ", 6)
	switch {
	case kind == "s" && len(words) == 6:
		if id, err := url.PathUnescape(rest); err == nil {
			s.Sessions[id] = s.session(words)
		}
	case kind == "t":
		s.Counters[rest] = s.counter(words)
	case kind == "d":
		if account, err := url.PathUnescape(rest); err == nil {
			s.Permits[account], _ = strconv.ParseFloat(words[0], 64)
		}
	case kind == "f" && len(words) == 3:
		paces[rest] = s.pace(words)
	case (kind == "k" || kind == "a" || kind == "m") && len(words) >= 2:
		_, reason, _ := strings.Cut(value[len(words[0])+1:], " ")
		s.Blocks[name] = BlockState{Until: s.from(words[0]), Off: words[1] == "off", Reason: reason}
	}
}

// from returns the time from now until a moment in seconds since 2017.
func (s *PoolState) from(text string) time.Duration {
	at, _ := strconv.ParseFloat(text, 64)
	return time.Duration((at*1e6 - float64(s.Now)) * 1e3)
}

func (s *PoolState) counter(words []string) CounterState {
	if len(words) == 1 {
		return CounterState{Ahead: s.from(words[0])}
	}
	used, _ := strconv.ParseInt(words[1], 10, 64)
	return CounterState{Ends: s.from(words[0]), Used: used}
}

func (s *PoolState) pace(words []string) float64 {
	value, _ := strconv.ParseFloat(words[0], 64)
	recovery, _ := strconv.ParseFloat(words[2], 64)
	return min(1, value-s.from(words[1]).Seconds()/max(recovery, 1e-9))
}

func (s *PoolState) session(words []string) SessionState {
	out := SessionState{Ends: s.from(words[0]), Held: map[string]int{}}
	out.Waiting, _ = strconv.Atoi(words[2])
	out.WaitingForPermits, _ = strconv.Atoi(words[3])
	for pair := range strings.SplitSeq(words[5], ",") {
		name, n, ok := strings.Cut(pair, "=")
		if name, err := url.PathUnescape(name); ok && err == nil {
			out.Held[name], _ = strconv.Atoi(n)
		}
	}
	return out
}
