package admission

import (
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// What an attempt taught is reported: a cooldown at once and with a slower pace, quotas with the next call, samples when
// they are due.
func TestFeedback_IsReported(t *testing.T) {
	cfg := limitedConfig()
	cfg.Adaptive = &Adaptive{Min: 1, Initial: 5, Backoff: 0.9, Every: time.Second}
	bubble(t, cfg, func(t *testing.T, c *Controller, f *fakeRedis) {
		a := begin(t, c, anyCall, 0)
		a.admitted(t)
		a.Feedback(Feedback{})
		a.Feedback(Feedback{Works: true}) // no trial
		if calls := f.since(1); len(calls) != 0 {
			t.Fatalf("got %+v, want no call", calls)
		}
		a.Feedback(Feedback{Quotas: []Quota{{Limit: 60, Remaining: 0}}, Sample: Served, Latency: time.Second, Initial: 7})
		a.Feedback(Feedback{Works: true, Pace: 0.75, Block: &Block{Account: "k", For: time.Minute, Reason: "429"}})
		calls := f.since(1)
		if len(calls) != 1 || calls[0].after != 0 {
			t.Fatalf("got %+v, want one call at once", calls)
		}
		var kinds []scripts.ReportKind
		for _, r := range calls[0].Reports {
			kinds = append(kinds, r.Kind)
		}
		// A bucket of 60 leaves less than a unit unused, so its quota says nothing.
		if want := []scripts.ReportKind{scripts.SlowCounter, scripts.CoolBlock}; !slices.Equal(kinds, want) {
			t.Errorf("got reports %v, want %v", kinds, want)
		}
		time.Sleep(time.Second)
		calls = f.since(2)
		if len(calls) != 1 || calls[0].after != time.Second {
			t.Fatalf("got %+v, want one call at the window's end", calls)
		}
		want := scripts.PoolReport{Kind: scripts.AdaptPermits, OK: 1, For: time.Second, Peak: 1, Units: 7}
		if got := calls[0].Reports; len(got) != 1 || got[0] != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// An operator's order is reported at once, and returns when Redis has confirmed it. So does a change of accounts, which
// makes waiters ask at once.
func TestBlock_OrdersAndAccountsAskAtOnce(t *testing.T) {
	bubble(t, limitedConfig(), func(t *testing.T, c *Controller, f *fakeRedis) {
		f.reply(in(800 * time.Millisecond))
		begin(t, c, anyCall, 0).waits(t)
		if err := c.Block(t.Context(), Block{Key: "k", Disabled: true, For: time.Hour, Reason: "leaked"}); err != nil {
			t.Errorf("block: got %v, want no error", err)
		}
		if err := c.Unblock(t.Context(), "", "k"); err != nil {
			t.Errorf("unblock: got %v, want no error", err)
		}
		c.SetAccounts(accountsNamed("k", "l"))
		calls := f.since(1)
		if len(calls) != 3 || calls[2].after != 0 {
			t.Fatalf("got %+v, want three calls at once", calls)
		}
		off, on := calls[0].Reports, calls[1].Reports
		if len(off) != 1 || off[0].Kind != scripts.DisableBlock || off[0].Block != "k:k" || off[0].For != time.Hour {
			t.Errorf("got %+v, want key k disabled for an hour", off)
		}
		if len(on) != 1 || on[0].Kind != scripts.ClearBlock || on[0].Block != "k:k" || demanded(calls[1].PoolCall) != 1 {
			t.Errorf("got %+v, want key k cleared, and a demand", on)
		}
		if got := c.Accounts(); len(got) != 2 {
			t.Errorf("got accounts %+v, want two", got)
		}
	})
}
