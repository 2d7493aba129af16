package caller

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// noon is the time that tests which set the time begin at.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// accountsNamed returns a key for each name, as an account of its own.
func accountsNamed(names ...string) (keys []Key) {
	for _, name := range names {
		keys = append(keys, Key{ID: name, Secret: NewSecret("secret of " + name)})
	}
	return keys
}

// leave closes a Pool.
func leave(c *Pool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("this machine has no time zones: %v", err)
	}
	return l
}

// The next reset is at the wall clock's time there, also on days of 23 and 25 hours.
func TestNextReset_IsAtTheWallClocksTime(t *testing.T) {
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
func TestNextReset_ComesOnceADay(t *testing.T) {
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

// In a process where a call waits for the next day, others that fit into today go on.
func TestDaily_SmallerCallsGoOnWhileOneWaitsForTheNextDay(t *testing.T) {
	t.Parallel()
	// The limit starts anew in half a day, whenever the test runs.
	limit := Limit{Metric: Tokens, Rate: 100, Algorithm: Daily}
	limit.ResetAt = (time.Duration(time.Now().UTC().Hour()+12) * time.Hour) % (24 * time.Hour)
	c, err := New(redistest.Client(t), Config{Name: "p", Keys: accountsNamed("k"), Limits: []Limit{limit}, Timeout: 48 * time.Hour})
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
