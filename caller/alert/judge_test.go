package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// quiet is a fleet in which all is well.
func quiet(now time.Time) *caller.Fleet {
	f := &caller.Fleet{Pool: "prod", Replicas: []caller.Replica{{Name: "pod-1"}, {Name: "pod-2"}}}
	f.Keys = []caller.KeyState{{ID: "k1", Account: "a"}, {ID: "k2", Account: "a"}, {ID: "k3", Account: "b"}}
	f.Limits = []caller.LimitState{{Limit: caller.Limit{Metric: caller.Requests, Rate: 1000, Algorithm: caller.Daily}, Account: "a", Used: 100}}
	for i := range 20 {
		f.History = append(f.History, caller.Interval{
			Begin: now.Add(time.Duration(i-20) * minWindow), Succeeded: 100, Failed: 1, Attempts: 103, Throttled: 1,
		})
	}
	return f
}

func completed(t *testing.T, c Config) *Config {
	t.Helper()
	c.Receivers = []Receiver{{Kind: Webhook, URL: caller.NewSecret("https://h/")}}
	c, err := c.completed()
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

// Each rule fires for what it is about, once that has lasted, says what it found, goes on in between, and ends.
func TestRules_FireAndEnd(t *testing.T) {
	last := func(f *caller.Fleet, change func(*caller.Interval)) {
		for i := range 2 {
			change(&f.History[len(f.History)-1-i])
		}
	}
	for _, c := range []struct {
		rule                 Rule
		wrong, between, over func(*caller.Fleet)
		after                time.Duration
		says                 string
	}{
		{
			FailureRate,
			func(f *caller.Fleet) { last(f, func(i *caller.Interval) { i.Failed = 20 }) },
			func(f *caller.Fleet) { last(f, func(i *caller.Interval) { i.Failed = 8 }) }, func(*caller.Fleet) {}, 0, "16.7 % of 240 calls failed",
		},
		{
			Throttling,
			func(f *caller.Fleet) { last(f, func(i *caller.Interval) { i.Throttled = 12 }) },
			func(f *caller.Fleet) { last(f, func(i *caller.Interval) { i.Throttled = 5 }) }, func(*caller.Fleet) {}, 0, "usually 1 %",
		},
		{
			Retries, func(f *caller.Fleet) { last(f, func(i *caller.Interval) { i.Attempts = 130 }) },
			func(f *caller.Fleet) { last(f, func(i *caller.Interval) { i.Attempts = 108 }) }, func(*caller.Fleet) {}, 0, "were repetitions",
		},
		{
			KeyDisabled, func(f *caller.Fleet) { f.Keys[2].Disabled, f.Keys[2].Reason = time.Minute, "401" },
			func(f *caller.Fleet) { f.Keys[2].Trial = true }, func(*caller.Fleet) {}, keyPatience, "key k3 of account b is disabled: 401",
		},
		{
			AccountDisabled,
			func(f *caller.Fleet) { f.Keys[0].Disabled, f.Keys[1].Disabled = 2*byOperator, 2*byOperator },
			func(f *caller.Fleet) { f.Keys[0].Disabled, f.Keys[1].Trial = 2*byOperator, true }, func(*caller.Fleet) {}, 0, "all 2 keys of account a",
		},
		{
			RedisDegraded, func(f *caller.Fleet) { f.Replicas[1].RedisError = "LOADING" },
			func(f *caller.Fleet) { f.Replicas[0].RedisError = "i/o timeout" }, func(*caller.Fleet) {}, redisPatience, "1 of 2 processes",
		},
		{
			Quota, func(f *caller.Fleet) { f.Limits[0].Used = 900 }, func(f *caller.Fleet) { f.Limits[0].Used = 860 },
			func(*caller.Fleet) {}, 0, "90 % of the requests of account a are used (900 of 1000)",
		},
		{
			Drift, func(f *caller.Fleet) { f.Replicas[1].Drifted, f.Replicas[1].Differences = true, []string{"limits"} },
			func(f *caller.Fleet) { f.Replicas[0].Drifted = true }, func(*caller.Fleet) {}, driftPatience, "other limits than most (pod-2)",
		},
		{
			Waiting, func(f *caller.Fleet) {
				f.Replicas[1].Waiting = []caller.Waiting{{Calls: 7, For: "tokens", Longest: 40 * time.Second}}
			},
			func(f *caller.Fleet) { f.Replicas[1].Waiting = []caller.Waiting{{Calls: 7, Longest: 20 * time.Second}} },
			func(*caller.Fleet) {}, 0, "7 calls wait for admission, one for 40s (for tokens)",
		},
	} {
		t.Run(string(c.rule), func(t *testing.T) {
			cfg, s, now := completed(t, Config{}), parseState(""), began
			step := func(change func(*caller.Fleet)) (firing []*entry) {
				f := quiet(now)
				change(f)
				s.advance(judge(cfg, f, now, s.baseline), []string{"webhook"}, now)
				now = now.Add(every)
				for _, id := range s.due("webhook") {
					s.delivered("webhook", []string{id})
				}
				for _, e := range s.Entries {
					if !e.Began.IsZero() && e.Ended.IsZero() {
						firing = append(firing, e)
					}
				}
				return firing
			}
			for wrongFor := time.Duration(0); ; wrongFor += every {
				firing := step(c.wrong)
				if wrongFor < c.after {
					if len(firing) > 0 {
						t.Fatalf("after %v: got %+v, want nothing before %v", wrongFor, firing[0], c.after)
					}
					continue
				}
				if len(firing) != 1 || firing[0].Rule != c.rule || !strings.Contains(firing[0].Summary, c.says) {
					t.Fatalf("after %v: got %+v, want %q", wrongFor, firing, c.says)
				}
				break
			}
			for range 6 {
				if len(step(c.between)) != 1 {
					t.Fatal("between the bounds: got no alert, want it to go on")
				}
			}
			for range 5 {
				step(c.over)
			}
			if firing := step(c.over); len(firing) != 0 || len(s.Entries) != 0 {
				t.Errorf("at the end: got %+v, want nothing", s.Entries)
			}
			cfg = completed(t, Config{Mute: []Rule{c.rule}})
			for range 20 {
				if firing := step(c.wrong); len(firing) > 0 && firing[0].Rule == c.rule {
					t.Fatalf("muted: got %+v, want nothing", firing[0])
				}
			}
		})
	}
}
