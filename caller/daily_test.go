package caller

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/scripts"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("this machine has no time zones: %v", err)
	}
	return l
}

// The next reset is at the wall clock's time there, also on days of 23 and 25 hours.
func TestNextReset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, now, want string // UTC
		at              time.Duration
	}{
		{"UTC", "2026-11-20T12:00:00Z", "2026-11-21T00:00:00Z", 0},
		{"UTC", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", 0}, // it has just started anew
		{"UTC", "2026-11-20T23:59:59.999999Z", "2026-11-21T00:00:00Z", 0},
		{"UTC", "2026-12-31T12:00:00Z", "2027-01-01T07:30:00Z", 7*time.Hour + 30*time.Minute},
		{"UTC", "2026-11-20T07:00:00Z", "2026-11-20T07:30:00Z", 7*time.Hour + 30*time.Minute},
		{"America/Los_Angeles", "2026-07-01T12:00:00Z", "2026-07-02T07:00:00Z", 0}, // UTC-7
		{"America/Los_Angeles", "2026-12-01T12:00:00Z", "2026-12-02T08:00:00Z", 0}, // UTC-8
		{"America/Los_Angeles", "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z", 0}, // a day of 23 hours
		{"America/Los_Angeles", "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z", 0}, // a day of 25 hours
		// 02:30 is skipped that night, and Go makes 01:30 of it.
		{"America/Los_Angeles", "2026-03-08T08:00:00Z", "2026-03-08T09:30:00Z", 2*time.Hour + 30*time.Minute},
		// 01:30 comes twice that night. The first one counts, and the next one is a day later.
		{"America/Los_Angeles", "2026-11-01T07:00:00Z", "2026-11-01T08:30:00Z", time.Hour + 30*time.Minute},
		{"America/Los_Angeles", "2026-11-01T08:30:00Z", "2026-11-02T09:30:00Z", time.Hour + 30*time.Minute},
		{"Asia/Kolkata", "2026-11-20T18:29:59Z", "2026-11-20T18:30:00Z", 0}, // UTC+5:30
		{"Asia/Kolkata", "2026-11-20T18:30:00Z", "2026-11-21T18:30:00Z", 0},
		{"Pacific/Kiritimati", "2026-11-20T12:00:00Z", "2026-11-21T10:00:00Z", 0}, // UTC+14
		// Midnight itself is skipped as clocks go forward.
		{"Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z", 0},
	} {
		now, _ := time.Parse(time.RFC3339Nano, c.now)
		l := Limit{Location: zone(t, c.zone), ResetAt: c.at}
		if got := l.nextReset(now).UTC().Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s %v at %s: next reset %s, want %s", c.zone, c.at, c.now, got, c.want)
		}
	}
}

// Through two years of days, short and long ones, resets come once a day, at the same time of day where there is one.
func TestResetsComeOnceADay(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"America/Los_Angeles", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"} {
		l := Limit{Location: zone(t, name), ResetAt: 2*time.Hour + 15*time.Minute}
		at := l.nextReset(noon)
		for range 730 {
			next := l.nextReset(at)
			if d := next.Sub(at); d < 22*time.Hour || d > 26*time.Hour {
				t.Fatalf("%s: %v between %v and %v", name, d, at, next)
			}
			at = next
		}
	}
}

// A daily count is the replicas' together, is full until the reset, and starts anew then.
func TestDailyLimits(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		limit := Limit{
			Metric: Requests, Rate: 5, Algorithm: Daily, Scope: PerPool,
			Location: zone(t, "America/Los_Angeles"), ResetAt: 30 * time.Minute,
		}
		cfg := Config{Keys: accountsNamed("x", "y"), Limits: []Limit{limit}}
		a, b := visit(t, rdb, cfg), visit(t, rdb, cfg)
		for day := range 3 {
			now := noon.AddDate(0, 0, day)
			reset := limit.nextReset(now)
			if got := a.count(now, 2, Options{}, nil) + b.count(now, 9, Options{}, nil); got != 5 {
				t.Errorf("day %d: %d calls, want 5", day, got)
			}
			last := reset.Add(-time.Millisecond)
			if got := a.count(last, 1, Options{}, nil); got != 0 {
				t.Errorf("day %d: one more just before the reset", day)
			}
			_, reply := b.ask(last, 1, Options{}, nil)
			if d := reply.Wake; d > time.Second || d <= 0 {
				t.Errorf("day %d: wait for %v a millisecond before the reset", day, d)
			}
		}
		if got := b.count(limit.nextReset(noon.AddDate(0, 0, 2)), 9, Options{}, nil); got != 5 {
			t.Errorf("at the very reset: %d calls, want 5", got)
		}
	})
}

// A replica whose clock is behind, and so tells of a reset that has passed, neither brings an old count back nor starts
// one anew with every call.
func TestADailyCountAndALateClock(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	v := visit(t, rdb, Config{Keys: accountsNamed("x"), Limits: []Limit{{Metric: Requests, Rate: 3, Algorithm: Daily}}})
	reset := v.plan.Limits[0].nextReset(noon)
	for name, asked := range map[string]int{"first": 0, "later": 2} {
		v.plan.Name = name
		if got := v.count(reset, asked, Options{}, nil); got != asked {
			t.Fatalf("%d of %d calls", got, asked)
		}
		late := v.plan.layOut(v.plan.accounts, v.families.list, reset.Add(-time.Second))
		total := asked
		for range 4 {
			v.seq++
			reply, err := scripts.Admit(t.Context(), rdb, name, &scripts.PoolCall{
				Config: late.shape, Seq: v.seq, Now: scripts.Micros(reset),
				Demands: []scripts.PoolDemand{{Count: 2, Prefer: -1, Cost: []int64{1}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			total += len(reply.Grants)
		}
		if total != 3 {
			t.Errorf("it comes %s: %d calls, limit 3", name, total)
		}
	}
}

// What a day's calls really cost counts in that day: debt and refund change the count.
func TestDailyLimitsSettle(t *testing.T) {
	t.Parallel()
	cfg := Config{Keys: accountsNamed("x"), Limits: []Limit{{Metric: Tokens, Rate: 100, Algorithm: Daily}}}
	v := visit(t, redistest.Client(t), cfg)
	settle := func(units int64) item {
		return item{counter: v.layout.counters[0].name, PoolReport: scripts.PoolReport{Kind: scripts.SettleCounter, Units: units}}
	}
	if got := v.count(noon, 9, Options{}, Cost{Tokens: 40}); got != 2 {
		t.Fatalf("%d calls of 40 in 100", got)
	}
	if g, _ := v.ask(noon, 1, Options{}, Cost{Tokens: 30}, settle(-10)); len(g) != 1 {
		t.Error("10 tokens came back, but 30 don't fit")
	}
	if g, _ := v.ask(noon, 1, Options{}, Cost{Tokens: 10}, settle(50), settle(-45)); len(g) != 0 {
		t.Error("5 tokens more were used, but 10 fit into 100")
	}
}

// A call that the rest of a day's count has no room for isn't booked for the next day, where it would keep a permit until
// then; smaller ones behind it get what is left.
func TestTheRestOfADailyLimit(t *testing.T) {
	t.Parallel()
	limit := Limit{Metric: Tokens, Rate: 100, Algorithm: Daily}
	v := visit(t, redistest.Client(t), Config{Keys: accountsNamed("x"), Limits: []Limit{limit}})
	if got := v.count(noon, 1, Options{}, Cost{Tokens: 70}); got != 1 {
		t.Fatal("70 of 100 aren't admitted")
	}
	_, reply := v.ask(noon, 1, Options{}, Cost{Tokens: 40})
	if d := reply.Wake; len(reply.Grants) != 0 || d < 12*time.Hour || d > 12*time.Hour+time.Second || reply.Constraint != 0 {
		t.Errorf("40 more: %+v, want none before midnight", reply)
	}
	reply, err := scripts.Admit(t.Context(), v.rdb, "p", &scripts.PoolCall{
		Config: v.layout.shape, Seq: v.seq + 1, Now: scripts.Micros(noon), Demands: []scripts.PoolDemand{
			{Count: 1, Prefer: -1, Cost: []int64{40}}, {Count: 4, Prefer: -1, Cost: []int64{10}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Admitted[0] != 0 || reply.Admitted[1] != 3 {
		t.Errorf("of one call of 40 and four of 10 in the last 30: %v admitted, want 0 and 3", reply.Admitted)
	}
}

// In a process where a call waits for the next day, others that fit into today go on.
func TestOthersGoOnWhileOneWaitsForTheNextDay(t *testing.T) {
	t.Parallel()
	// The limit starts anew in half a day, whenever the test runs.
	limit := Limit{Metric: Tokens, Rate: 100, Algorithm: Daily}
	limit.ResetAt = (time.Duration(time.Now().UTC().Hour()+12) * time.Hour) % (24 * time.Hour)
	c, err := New(redistest.Client(t), Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{limit}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Do(ctx, c, Cost{Tokens: 50}, nothing); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() {
		_, err := Do(ctx, c, Cost{Tokens: 60}, nothing)
		waits <- err
	}()
	for end := time.Now().Add(20 * time.Second); c.Stats().CallsWaiting == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for range 5 {
		if _, err := Do(ctx, c, Cost{Tokens: 10}, nothing); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("the call that waits for tomorrow: %v", err)
	}
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
