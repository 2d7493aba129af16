package caller_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

func perHour(n int64) caller.Limit {
	return caller.Limit{Metric: caller.Requests, Rate: n, Period: time.Hour, Burst: n}
}

// An older version never overrides a newer one, and the error names both.
func TestSetLimits_RefusesAnOlderVersion(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	a, b := join(t, rdb, limits(perHour(10))), join(t, rdb, limits(perHour(10)))
	ctx := testkit.Context(t)
	if err := a.SetLimits(ctx, 5, caller.LimitSet{Limits: []caller.Limit{perHour(20)}}); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func() error{
		"where the newer one was set":   func() error { return a.SetLimits(ctx, 4, caller.LimitSet{}) },
		"where it isn't known yet":      func() error { return b.SetLimits(ctx, 4, caller.LimitSet{}) },
		"the same version with another": func() error { return b.SetLimits(ctx, 5, caller.LimitSet{}) },
	} {
		old, ok := errors.AsType[*caller.LimitsVersionError](set())
		if !ok || old.Ruling != 5 {
			t.Errorf("%s: got %v, want that version 5 rules", name, old)
		}
	}
	if err := b.SetLimits(ctx, 5, caller.LimitSet{Limits: []caller.Limit{perHour(20)}}); err != nil {
		t.Errorf("the same limits: got %v, want no error", err)
	}
	state, err := b.Inspect(ctx)
	if err != nil || state.LimitsVersion != 5 || state.Limits[0].Limit.Rate != 20 || state.Ruling.Limits[0].Rate != 20 {
		t.Errorf("got %+v, %v, want 20 requests by version 5", state, err)
	}
	if err := b.SetLimits(ctx, 6, caller.LimitSet{}); err != nil {
		t.Fatal(err)
	}
	if state, err = a.Inspect(ctx); err != nil || state.LimitsVersion != 6 || state.Limits[0].Limit.Rate != 10 {
		t.Errorf("got %+v, %v, want 10 requests, as configured, by version 6", state, err)
	}
}

// What the configuration doesn't have is refused by name.
func TestSetLimits_RefusesWhatIsNotConfigured(t *testing.T) {
	t.Parallel()
	c := join(t, redistest.Client(t), limits(perHour(10)))
	tokens, minute := perHour(10), perHour(10)
	tokens.Metric, minute.Period = caller.Tokens, time.Minute
	for name, tt := range map[string]struct {
		version int64
		set     caller.LimitSet
		says    string
		unknown bool
	}{
		"metric":      {1, caller.LimitSet{Limits: []caller.Limit{tokens}}, "tokens.1h0m0s", true},
		"period":      {1, caller.LimitSet{Limits: []caller.Limit{minute}}, "it has account requests.1h0m0s", true},
		"account":     {1, caller.LimitSet{Accounts: []caller.AccountLimits{{ID: "org-x"}}}, `"org-x"`, true},
		"own limit":   {1, caller.LimitSet{Accounts: []caller.AccountLimits{{ID: "k", Limits: []caller.Limit{perHour(5)}}}}, `account "k"`, true},
		"rate":        {1, caller.LimitSet{Limits: []caller.Limit{perHour(0)}}, "Rate of requests is 0", false},
		"concurrency": {1, caller.LimitSet{Concurrency: 3}, "configure one first", false},
		"negative":    {1, caller.LimitSet{Concurrency: -3}, "Concurrency is -3", false},
		"version":     {0, caller.LimitSet{}, "the version is 0", false},
	} {
		err := c.SetLimits(testkit.Context(t), tt.version, tt.set)
		if err == nil || !strings.Contains(err.Error(), tt.says) || errors.Is(err, caller.ErrUnknownLimit) != tt.unknown {
			t.Errorf("%s: got %v, want an error with %q", name, err, tt.says)
		}
	}
}

// A limit that is raised admits the calls that wait for it, at once.
func TestSetLimits_AdmitsTheCallsThatWait(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	ctx := testkit.Context(t)
	a, b := join(t, rdb, concurrency(1), unbounded), join(t, rdb, concurrency(1), unbounded)
	end := hold(t, a)
	defer end()
	got := make(chan error, 1)
	go func() {
		_, err := caller.Do(ctx, a, nil, nop)
		got <- err
	}()
	testkit.Eventually(t, "a call that waits", func() bool { return a.Stats().CallsWaiting == 1 })
	if err := b.SetLimits(ctx, 1, caller.LimitSet{Accounts: []caller.AccountLimits{{ID: "k", Concurrency: 2}}}); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, "the result of the call", got); err != nil {
		t.Error(err)
	}
}

// Limits that Redis has lost are restored by the next call of a process that follows them, and a process that starts later
// with its old configuration follows.
func TestSetLimits_OutlivesRedisAndProcesses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	ctx := testkit.Context(t)
	a := join(t, rdb, limits(perHour(10)))
	if err := a.SetLimits(ctx, 3, caller.LimitSet{Limits: []caller.Limit{perHour(20)}}); err != nil {
		t.Fatal(err)
	}
	rdb.FlushDB(ctx)
	if _, err := caller.Do(ctx, a, nil, nop); err != nil {
		t.Fatal(err)
	}
	changes := make(chan caller.LimitsChange, 1)
	b := join(t, rdb, limits(perHour(10)), func(c *caller.Config) {
		c.Hooks.LimitsChanged = func(_ context.Context, change caller.LimitsChange) { changes <- change }
	})
	if _, err := caller.Do(ctx, b, caller.Cost{caller.Requests: 5}, nop); err != nil {
		t.Fatal(err)
	}
	if c := testkit.Receive(t, "the hook", changes); c.Version != 3 || c.Err != nil || c.Limits.Limits[0].Rate != 20 {
		t.Errorf("LimitsChanged: got %+v, want 20 requests by version 3", c)
	}
	if _, err := caller.Do(ctx, b, caller.Cost{caller.Requests: 14}, nop); err != nil {
		t.Errorf("a call of more than the configured limit: got %v, want it admitted", err)
	}
	if s := b.Stats(); s.ScriptCallsFailed != 0 {
		t.Errorf("got %d script calls that failed, want none: to follow is no failure", s.ScriptCallsFailed)
	}
}

// A process whose configuration lacks a limit that is set goes on as configured, and says so.
func TestSetLimits_WarnsWhoCannotFollow(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	ctx := testkit.Context(t)
	a := join(t, rdb, limits(perHour(10)))
	if err := a.SetLimits(ctx, 1, caller.LimitSet{Limits: []caller.Limit{perHour(20)}}); err != nil {
		t.Fatal(err)
	}
	changes := make(chan caller.LimitsChange, 1)
	other := caller.Limit{Metric: caller.Tokens, Rate: 100, Period: time.Hour}
	b := join(t, rdb, limits(other), func(c *caller.Config) {
		c.Hooks.LimitsChanged = func(_ context.Context, change caller.LimitsChange) { changes <- change }
	})
	if _, err := caller.Do(ctx, b, nil, nop); err != nil {
		t.Fatal(err)
	}
	if c := testkit.Receive(t, "the hook", changes); c.Version != 1 || !errors.Is(c.Err, caller.ErrUnknownLimit) {
		t.Errorf("LimitsChanged: got %+v, want ErrUnknownLimit", c)
	}
	if s, err := b.Inspect(ctx); err != nil || !errors.Is(s.LimitsError, caller.ErrUnknownLimit) || s.Limits[0].Limit.Rate != 100 {
		t.Errorf("Inspect: got %+v, %v, want ErrUnknownLimit and 100 tokens", s, err)
	}
}
