package scripts

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// A field that can't be read is dropped and counted, and calls go on.
func TestPool_DropsUnreadableFields(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		cfg := oneLimit(2, window(0, 1_000_000, time.Minute, 1000))
		cfg.Concurrency = 100
		for _, f := range [][2]string{
			{"s:evil", "v2 garbage"}, {"s:a", "300000010 1 1 0 300000000"}, {"k:k0", "soon"}, {"t:org-0:limit-0", "v2:1"},
			{"t:org-0:limit-0", "nan"}, {"g", "abc"}, {"w", "z"}, {"h:org-0", "-1 x"}, {"c", "?"}, {"i", "?"}, {"q", "\xff\xfe"},
		} {
			rdb.FlushDB(t.Context())
			p := newTestPool(t, rdb, cfg)
			p.must("a", PoolCall{Held: []int{0, 0}, Reports: []PoolReport{{Kind: CoolBlock, Block: KeyBlock("k1"), For: time.Second}}})
			rdb.HSet(t.Context(), PoolKey("p"), f[0], f[1])
			for range 3 {
				p.now += 200_000
				if r := p.must("a", PoolCall{Held: []int{0, 0}, Demands: calls(4, 1)}); len(r.Grants) != 4 {
					t.Errorf("%q: got %d calls, want 4", f, len(r.Grants))
				}
			}
			if got := rdb.HGet(t.Context(), PoolKey("p"), f[0]).Val(); got == f[1] && f[0] != "i" && f[0] != "q" {
				t.Errorf("%q is still there", f)
			}
		}
	})
}

// State of another layout is left alone, and the error names both layouts.
func TestPool_RefusesAnotherLayout(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	p := newTestPool(t, rdb, oneLimit(1, window(0, 600, time.Minute, 10)))
	for header, have := range map[string]int{"300000000000000 7": 1, "3 anything at all": 3} {
		rdb.HSet(t.Context(), PoolKey("p"), "g", header)
		_, err := p.call("s", PoolCall{Demands: calls(1, 1)})
		if layout, ok := errors.AsType[*LayoutError](err); !ok || layout.Have != have || layout.Want != 2 || OutcomeOf(err) != Rejected {
			t.Errorf("%q: got %v, want a LayoutError of %d and 2", header, err, have)
		}
		if got := rdb.HGetAll(t.Context(), PoolKey("p")).Val(); len(got) != 1 {
			t.Errorf("got %v written", got)
		}
	}
}

// A late call of a session that has left is stale.
func TestPool_KnowsTheNumberOfASessionThatLeft(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, redistest.Client(t), oneLimit(1, window(0, 600, time.Minute, 10)))
	p.must("s", PoolCall{Seq: 6})
	p.now += 60_000_000
	if _, err := p.call("s", PoolCall{Seq: 5, Demands: calls(1, 1)}); !errors.Is(err, ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
}

// A user that may not publish is served, and the reply says so.
func TestPool_WorksWithoutPublishing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	rdb := server.Client(t)
	if err := rdb.Do(t.Context(), "ACL", "SETUSER", "u", "on", ">pw", "~penstock:*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	opts := server.Options()
	opts.Username, opts.Password = "u", "pw"
	user := redis.NewClient(opts)
	t.Cleanup(func() { _ = user.Close() })
	cfg := oneLimit(1, window(0, 600, time.Minute, 10))
	cfg.Concurrency = 2
	p := newTestPool(t, user, cfg)
	p.must("a", PoolCall{Held: []int{0}, Demands: calls(2, 1)})
	p.must("b", PoolCall{Held: []int{0}, Demands: calls(1, 1)})
	if r := p.must("a", PoolCall{Held: []int{0}}); !r.Muted {
		t.Errorf("got %+v, want it to say that a message was refused", r)
	}
	if r := p.must("b", PoolCall{Held: []int{0}, Demands: calls(1, 1)}); len(r.Grants) != 1 {
		t.Errorf("got %d calls, want 1", len(r.Grants))
	}
}

// Nothing of a thousand keys that were rotated out is left after a while, and permits taken agree with the sessions.
func TestPool_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	cfg := oneLimit(1, window(0, 1_000_000, time.Minute, 1000))
	cfg.Limits[0].Scope, cfg.Concurrency = PerKey, 10
	p := newTestPool(t, rdb, cfg)
	fields := func() int64 { return rdb.HLen(t.Context(), PoolKey("p")).Val() }
	rotate := func(i int) {
		p.cfg.Accounts = []PoolAccount{{ID: fmt.Sprint("org-", i), Keys: []PoolKeyWeight{{fmt.Sprint("k", i), 1}}}}
		off := []PoolReport{{Kind: DisableBlock, Block: KeyBlock(fmt.Sprint("k", i-1)), For: time.Hour, Reason: "401"}}
		p.must(fmt.Sprint("s", i), PoolCall{Held: []int{0}, Reports: off, Demands: calls(1, 1)})
	}
	for i := range 1000 {
		rotate(i)
		p.now += 10_000_000
	}
	p.now += 2 * 86_400_000_000
	for range 6000 {
		p.must("s", PoolCall{Held: []int{0}, Demands: calls(1, 1)})
		p.now += 100_000
	}
	if n := fields(); n > 20 {
		t.Errorf("got %d fields after a thousand keys, want at most 20: %v", n, rdb.HKeys(t.Context(), PoolKey("p")).Val())
	}
}
