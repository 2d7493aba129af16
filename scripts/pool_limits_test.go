package scripts

import (
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// follow is a call of a session that follows limits, or sets them with a text.
func (p *testPool) follow(session string, version int64, text string) error {
	p.Helper()
	_, err := p.call(session, PoolCall{Reports: []PoolReport{{Kind: FollowLimits, Units: version, Text: text}}, Demands: calls(1, 1)})
	return err
}

// Of several versions of the limits the highest rules, and a process that follows another gets it before it is charged.
func TestPool_TheHighestVersionOfLimitsRules(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	p := newTestPool(t, rdb, oneLimit(1, window(0, 100, time.Minute, 10)))
	p.must("old", PoolCall{Demands: calls(1, 1)})
	if err := p.follow("a", 3, `{"concurrency": 5}`); err != nil {
		t.Fatal(err)
	}
	counter := rdb.HGet(t.Context(), PoolKey("p"), "t:org-0:limit-0").Val()
	for _, c := range []struct {
		name    string
		version int64
		text    string
	}{{"follows none", 0, ""}, {"follows an older one", 2, ""}, {"sets an older one", 2, "{}"}, {"sets the same one", 3, "{}"}} {
		var err error
		if c.version == 0 {
			_, err = p.call("old", PoolCall{Demands: calls(1, 1)})
		} else {
			err = p.follow("old", c.version, c.text)
		}
		rule, ok := errors.AsType[*LimitsError](err)
		if !ok || rule.Version != 3 || rule.Text != `{"concurrency": 5}` || OutcomeOf(err) != NotRun {
			t.Errorf("%s: got %v, want the limits of version 3", c.name, err)
		}
	}
	if now := rdb.HGet(t.Context(), PoolKey("p"), "t:org-0:limit-0").Val(); now != counter {
		t.Errorf("got the counter at %s after calls that were refused, want %s", now, counter)
	}
	if err := p.follow("a", 3, `{"concurrency": 5}`); err != nil {
		t.Errorf("the same limits again: got %v, want no error", err)
	}
	if err := p.follow("old", 3, ""); err != nil {
		t.Errorf("follows: got %v, want no error", err)
	}
	if err := p.follow("old", 4, "{}"); err != nil {
		t.Errorf("a newer version: got %v, want no error", err)
	}
	s, err := InspectPool(t.Context(), rdb, "p")
	if err != nil || s.LimitsVersion != 4 || s.Limits != "{}" {
		t.Errorf("InspectPool: got version %d, %q, %v, want version 4, {}", s.LimitsVersion, s.Limits, err)
	}
}

// Limits that Redis has lost are asked for, and restored by a process that follows them.
func TestPool_LostLimitsAreRestored(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	p := newTestPool(t, rdb, oneLimit(1, window(0, 100, time.Minute, 10)))
	if err := p.follow("a", 7, "{}"); err != nil {
		t.Fatal(err)
	}
	rdb.FlushDB(t.Context())
	rule, ok := errors.AsType[*LimitsError](p.follow("a", 7, ""))
	if !ok || rule.Version != 0 || rule.Text != "" {
		t.Fatalf("got %v, want version 0", rule)
	}
	if err := p.follow("a", 7, "{}"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.call("b", PoolCall{Demands: calls(1, 1)}); !errors.As(err, &rule) || rule.Version != 7 {
		t.Errorf("got %v, want the limits of version 7", err)
	}
}

// Limits outlive the pool's other state: they rule for 30 days after the last call.
func TestPool_LimitsOutliveThePool(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	p := newTestPool(t, rdb, oneLimit(1, window(0, 100, time.Minute, 10)))
	p.must("a", PoolCall{Demands: calls(1, 1)})
	if err := p.follow("a", 1, "{}"); err != nil {
		t.Fatal(err)
	}
	if ttl := rdb.TTL(t.Context(), PoolKey("p")).Val(); ttl < 30*24*time.Hour || ttl > 30*24*time.Hour+5*time.Minute {
		t.Errorf("got a TTL of %v, want 30 days", ttl)
	}
}
