package scripts

import (
	"testing"

	"github.com/penstock/penstock/internal/redistest"
)

// A charge is taken as a whole or not at all, a reserve only far from the cap, and a report takes effect once.
func TestClientUsage_ChargesCapsAndCountsOnce(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	caps := ClientCaps{-1, 100, -1, 1000, -1, -1}
	report := &ClientReport{Process: "p 1", Seq: 1, KeepDays: 2, Charges: []ClientCharge{
		{Client: "a:b", Caps: caps, Units: ClientUnits{1, 40, 7}, Reserve: ClientUnits{1, 30, 0}},
		{Client: "a:b", Caps: caps, Units: ClientUnits{1, 20, 7}, Reserve: ClientUnits{1, 10, 0}},
		{Client: "a:b", Caps: caps, Units: ClientUnits{1, 11, 0}},
		{Client: "a:b", Caps: caps, Units: ClientUnits{1, 10, 0}},
		{Client: "c", Caps: caps, Units: ClientUnits{1001, 10, 0}},
	}}
	reply, err := ClientUsage(t.Context(), rdb, "g", report)
	if err != nil {
		t.Fatal(err)
	}
	want := []ClientCharged{1, 0, 3, 0, 5}
	for i, got := range reply.Charges {
		if got != want[i] {
			t.Errorf("charge %d: got %d, want %d", i, got, want[i])
		}
	}
	again := &ClientReport{Process: "p 1", Seq: 2, KeepDays: 2,
		Corrections: []ClientCorrection{{Client: "a:b", Minute: reply.Minute, Day: reply.Day, Units: ClientUnits{-1, -30, -7}}},
		Calls:       []ClientCalls{{Client: "a:b", Model: "m:1", Requests: 1, Input: 2, Output: 3, Microdollars: 4}},
	}
	for range 2 {
		if reply, err = ClientUsage(t.Context(), rdb, "g", again); err != nil {
			t.Fatal(err)
		}
	}
	var days []ClientDay
	for field, value := range rdb.HGetAll(t.Context(), ClientUsageKey("g")).Val() {
		if d, ok := ParseClientDay(field, value); ok {
			days = append(days, d)
		}
	}
	if len(days) != 1 || days[0].ClientCalls != again.Calls[0] || days[0].Day.Unix() != reply.Day*86400 {
		t.Errorf("got usage %v, want %v of day %d once", days, again.Calls[0], reply.Day)
	}
	// 110 units were charged, and 30 came back once.
	if got := rdb.HGet(t.Context(), ClientUsageKey("g"), "c:a%3Ab").Val(); len(got) < 12 || got[len(got)-7:] != "3 70 7" && got[len(got)-7:] != " 3 70 7" {
		t.Errorf("got counts %q, want 3 requests, 70 tokens and 7 micro-dollars", got)
	}
	if ttl := rdb.PTTL(t.Context(), ClientUsageKey("g")).Val(); ttl.Hours() < 71 || ttl.Hours() > 72 {
		t.Errorf("got a TTL of %v, want three days", ttl)
	}
}

// Fields of days that aren't kept are dropped with the first call of a day.
func TestClientUsage_KeepsSomeDays(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	key := ClientUsageKey("g")
	rdb.HSet(t.Context(), key, "swept", "1", "u:7:a:m", "1 1 1 1", "c:old", "1 2 3 4 5 6 7 8", "p:old", "9 1")
	if _, err := ClientUsage(t.Context(), rdb, "g", &ClientReport{Process: "p", Seq: 1, KeepDays: 2}); err != nil {
		t.Fatal(err)
	}
	if got := rdb.HKeys(t.Context(), key).Val(); len(got) != 2 {
		t.Errorf("got fields %q, want swept and p:p", got)
	}
}
