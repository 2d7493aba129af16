package scripts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

const testStart = int64(300_000_000_000_000) // microseconds since 2017

// testPool makes calls of several sessions on one pool.
type testPool struct {
	*testing.T
	rdb *redis.Client
	cfg PoolConfig
	now int64
	seq map[string]int64
}

func newTestPool(t *testing.T, rdb *redis.Client, cfg *PoolConfig) *testPool {
	t.Helper()
	return &testPool{T: t, rdb: rdb, cfg: *cfg, now: testStart, seq: map[string]int64{}}
}

// window is a limit of n units in any window, of each account.
func window(metric int, n int64, per time.Duration, burst int64) PoolLimit {
	return PoolLimit{
		Name: fmt.Sprint("limit-", metric), Scope: PerAccount, Metric: metric, Interval: (per.Seconds() + 0.1) / float64(n-burst+1),
		Burst: burst, Limit: n, Period: per,
	}
}

// oneLimit is a pool of some accounts with a key each and one limit.
func oneLimit(accounts int, l PoolLimit) *PoolConfig {
	cfg := &PoolConfig{
		TTL: 10 * time.Second, Horizon: 200 * time.Millisecond, Strategy: LeastLoaded, Metrics: 1,
		Limits: []PoolLimit{l}, ModelGroups: []PoolModelGroup{{Limits: []int{0}}},
	}
	for a := range accounts {
		cfg.Accounts = append(cfg.Accounts, PoolAccount{ID: fmt.Sprint("org-", a), Keys: []PoolKeyWeight{{fmt.Sprint("k", a), 1}}})
	}
	return cfg
}

func calls(n int, cost int64) []PoolDemand {
	return []PoolDemand{{Count: n, Ahead: 100 * time.Millisecond, Prefer: -1, Cost: []int64{cost}}}
}

// call makes a call of a session.
func (p *testPool) call(session string, c PoolCall) (*PoolReply, error) {
	p.Helper()
	cfg := p.cfg
	cfg.Session = session
	p.seq[session]++
	c.Config, c.Now = EncodeConfig(&cfg), p.now
	if c.Seq == 0 {
		c.Seq = p.seq[session]
	}
	return Admit(p.Context(), p.rdb, "p", &c)
}

// must is a call that succeeds.
func (p *testPool) must(session string, c PoolCall) *PoolReply {
	p.Helper()
	reply, err := p.call(session, c)
	if err != nil {
		p.Fatal(err)
	}
	return reply
}

// A thousand calls over 50 accounts and 20 models with four limits each are admitted by one script call, also where the
// bursts of all counters grow.
func TestPool_TakesBatchesOfAnySize(t *testing.T) {
	t.Parallel()
	for _, grows := range []bool{false, true} {
		cfg := benchModels(50, 20)
		for i := range cfg.Limits {
			cfg.Limits[i].Burst, cfg.Limits[i].Grows = 1000, grows
		}
		p := newTestPool(t, redistest.Client(t), cfg)
		var all []PoolDemand
		for g := range 20 {
			all = append(all, PoolDemand{Count: 50, ModelGroup: g, Ahead: 100 * time.Millisecond, Prefer: -1, Cost: []int64{1, 700, 2000, 1900}})
		}
		if got := len(p.must("s", PoolCall{Demands: all}).Grants); got != 1000 {
			t.Errorf("grows %v: got %d calls admitted, want 1000", grows, got)
		}
	}
}

// Whatever suffix of the writes is lost, each session that has seen some of it gets ErrLost before it is admitted anything.
func TestPool_FindsEveryLostWrite(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	rdb := redistest.Client(t)
	for round := range 60 {
		rdb.FlushDB(t.Context())
		p := newTestPool(t, rdb, oneLimit(2, window(0, 1_000_000, time.Minute, 1000)))
		seen := map[string]StateVersion{}
		knows := map[string]int{} // the number of the last write that each session has seen
		sessions := 1 + random.IntN(12)
		writes, kept := 5+random.IntN(40), random.IntN(20)
		dump := ""
		for i := range writes {
			if i == kept {
				dump = rdb.Dump(t.Context(), PoolKey("p")).Val()
			}
			name := fmt.Sprint("s", random.IntN(sessions))
			p.now += random.Int64N(50_000)
			seen[name], knows[name] = p.must(name, PoolCall{Demands: calls(1, 1)}).Version, i
		}
		if kept >= writes {
			continue
		}
		rdb.Del(t.Context(), PoolKey("p"))
		if dump != "" {
			rdb.RestoreReplace(t.Context(), PoolKey("p"), time.Minute, dump)
		}
		for range 4 * sessions {
			name := fmt.Sprint("s", random.IntN(sessions))
			lost := seen[name].Origin > 0 && knows[name] >= kept
			p.now += random.Int64N(50_000)
			reply, err := p.call(name, PoolCall{Expected: seen[name], Demands: calls(1, 1)})
			switch {
			case errors.Is(err, ErrLost):
				knows[name], seen[name] = -1, StateVersion{}
			case err != nil:
				t.Fatal(err)
			case lost:
				t.Fatalf("round %d: %s, which had seen write %d of %d, was admitted after a loss of all from %d", round, name, knows[name], writes, kept)
			default:
				seen[name], knows[name] = reply.Version, -1
			}
		}
	}
}

// After a loss no new permits are granted until the sessions known before have called; and at a first start they are.
func TestPool_HoldsPermitsBackAfterALoss(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	cfg := oneLimit(1, window(0, 1_000_000, time.Minute, 1000))
	cfg.Concurrency = 4
	p := newTestPool(t, rdb, cfg)
	a := p.must("a", PoolCall{Held: []int{0}, Demands: calls(2, 1)})
	b := p.must("b", PoolCall{Held: []int{0}, Demands: calls(2, 1)})
	if len(a.Grants) != 2 || len(b.Grants) != 2 {
		t.Fatalf("got %d and %d calls at a first start, want 2 and 2", len(a.Grants), len(b.Grants))
	}
	rdb.Del(t.Context(), PoolKey("p"))
	p.now += 1000
	if _, err := p.call("b", PoolCall{Held: []int{2}, Expected: b.Version, Demands: calls(2, 1)}); !errors.Is(err, ErrLostAll) {
		t.Fatalf("got %v, want ErrLostAll", err)
	}
	if r := p.must("b", PoolCall{Held: []int{2}, Demands: calls(2, 1)}); len(r.Grants) != 0 || r.Constraint != ConstraintPermits {
		t.Errorf("got %d calls, constraint %d before the other session has called, want none for lack of permits", len(r.Grants), r.Constraint)
	}
	if _, err := p.call("a", PoolCall{Held: []int{1}, Expected: a.Version}); !errors.Is(err, ErrLostAll) {
		t.Fatalf("got %v, want ErrLostAll", err)
	}
	p.must("a", PoolCall{Held: []int{1}})
	if r := p.must("b", PoolCall{Held: []int{2}, Demands: calls(2, 1)}); len(r.Grants) != 1 {
		t.Errorf("got %d calls after all sessions have called, want 1", len(r.Grants))
	}
}

// If a session that was known before doesn't call any more, permits are granted after a third of the TTL.
func TestPool_GrantsPermitsAHeartbeatAfterALoss(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	cfg := oneLimit(1, window(0, 1_000_000, time.Minute, 1000))
	cfg.Concurrency = 4
	p := newTestPool(t, rdb, cfg)
	p.must("dead", PoolCall{Held: []int{0}, Demands: calls(2, 1)})
	b := p.must("b", PoolCall{Held: []int{0}, Demands: calls(2, 1)})
	rdb.Del(t.Context(), PoolKey("p"))
	_, _ = p.call("b", PoolCall{Held: []int{2}, Expected: b.Version})
	r := p.must("b", PoolCall{Held: []int{2}, Demands: calls(1, 1)})
	if len(r.Grants) != 0 || r.Wake <= 0 || r.Wake > cfg.TTL/3+time.Microsecond {
		t.Fatalf("got %d calls, wake %v, want none until at most %v", len(r.Grants), r.Wake, cfg.TTL/3)
	}
	p.now += r.Wake.Microseconds()
	if r := p.must("b", PoolCall{Held: []int{2}, Demands: calls(1, 1)}); len(r.Grants) != 1 {
		t.Errorf("got %d calls after the heartbeat, want 1", len(r.Grants))
	}
}

// A step of Redis' clock back, of any size, neither stops admission nor keeps the permits of dead sessions, and no window
// takes more than its limit.
func TestPool_SurvivesClockStepsBack(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Second, time.Minute, time.Hour, 30 * 24 * time.Hour} {
		rdb := redistest.Client(t)
		cfg := oneLimit(1, window(0, 600, time.Minute, 10))
		cfg.Concurrency = 500
		p := newTestPool(t, rdb, cfg)
		p.must("dead", PoolCall{Held: []int{0}, Demands: calls(5, 1)})
		at, taken := []int64(nil), 0
		elapsed, back := int64(0), false
		for elapsed < 100_000_000 {
			if !back && elapsed > 30_000_000 {
				p.now, back = p.now-step.Microseconds(), true
			}
			r := p.must("s", PoolCall{Held: []int{0}, Demands: calls(20, 1)})
			for _, g := range r.Grants {
				at = append(at, elapsed+g.SendAt-r.Now)
			}
			taken += len(r.Grants)
			elapsed += 100_000
			p.now += 100_000
		}
		for i := range at {
			j := i
			for j < len(at) && at[j] < at[i]+60_000_000 {
				j++
			}
			if j-i > 600 {
				t.Fatalf("step %v: got %d calls in a window, want at most 600", step, j-i)
			}
		}
		if taken < 970 {
			t.Errorf("step %v: got %d calls in 100 s, want 970 at least", step, taken)
		}
		state, err := InspectPool(t.Context(), rdb, "p")
		if err != nil || len(state.Sessions["dead"].Held) > 0 {
			t.Errorf("step %v: got %+v, %v, want the dead session's permits free", step, state.Sessions, err)
		}
	}
}

// A refund of a charge that no longer counts at the provider has no effect, and a settlement that can't be true is refused.
func TestPool_RefundsOnlyWhatStillCounts(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, redistest.Client(t), oneLimit(1, window(0, 60_000, time.Minute, 1200)))
	admitted := func(report func(i int) []PoolReport) (sum int64) {
		for i := range 600 {
			sum += 100 * int64(len(p.must("s", PoolCall{Reports: report(i), Demands: calls(1000, 100)}).Grants))
			p.now += 100_000
		}
		return sum
	}
	admitted(func(int) []PoolReport { return nil })
	got := admitted(func(i int) []PoolReport {
		if i%15 > 0 {
			return nil
		}
		return []PoolReport{{Kind: SettleCounter, Owner: "org-0", Units: -1000, Charged: p.now - 70_000_000}}
	})
	if got > 60_000 {
		t.Errorf("got %d units in a minute with late refunds, want at most 60000", got)
	}
	r := p.must("s", PoolCall{Reports: []PoolReport{{Kind: SettleCounter, Owner: "org-0", Units: 1 << 40}}})
	if r.Refused != 1 {
		t.Errorf("got %d reports refused, want 1", r.Refused)
	}
	p.now += 61_000_000
	if r := p.must("s", PoolCall{Demands: calls(1, 100)}); len(r.Grants) != 1 {
		t.Error("got no call a minute after a settlement that can't be true, want one")
	}
}

// A refund of yesterday doesn't raise what is left of today's count.
func TestPool_RefundsACountOnlyOnItsDay(t *testing.T) {
	t.Parallel()
	l := PoolLimit{Name: "day", Scope: PerAccount, Interval: 1, Burst: 10_000, Limit: 10_000, End: testStart + 10_000_000}
	p := newTestPool(t, redistest.Client(t), oneLimit(1, l))
	p.must("s", PoolCall{Demands: calls(1, 9000)})
	charged := p.now
	p.now += 11_000_000
	p.must("s", PoolCall{Demands: calls(1, 9000)})
	r := p.must("s", PoolCall{
		Reports: []PoolReport{{Kind: SettleCounter, Owner: "org-0", Units: -8000, Charged: charged}}, Demands: calls(1, 9000),
	})
	if len(r.Grants) != 0 {
		t.Error("got a call after a refund of yesterday, want none")
	}
}

// Permits of an account that is disabled are part of no share: two processes get equal numbers of calls.
func TestPool_SharesOnlyPermitsThatCanBeUsed(t *testing.T) {
	t.Parallel()
	cfg := oneLimit(2, window(0, 10_000_000, time.Minute, 100_000))
	cfg.Concurrency = 5
	p := newTestPool(t, redistest.Client(t), cfg)
	held, total := map[string][]int{"a": {0, 0}, "b": {0, 0}}, map[string]int{}
	reports := []PoolReport{{Kind: DisableBlock, Block: AccountBlock("org-1", ""), For: 24 * time.Hour, Reason: "credit"}}
	ask := func(name string, n int) {
		r := p.must(name, PoolCall{Held: slices.Clone(held[name]), Reports: reports, Demands: calls(n, 1)})
		reports = nil
		for _, g := range r.Grants {
			held[name][g.Target]++
			total[name]++
		}
		p.now += 5_000
	}
	ask("a", 30)
	for i := range 2000 {
		ask("b", 20)
		for _, name := range []string{"a", "b"} {
			if i%2 == 0 && held[name][0] > 0 {
				held[name][0]--
			}
		}
		ask("a", 30)
	}
	if a, b := total["a"], total["b"]; a > 2*b || b > 2*a {
		t.Errorf("got %d and %d calls, want about equal numbers", a, b)
	}
}
