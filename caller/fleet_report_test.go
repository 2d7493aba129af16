package caller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// All processes' calls, waiters and permits are in the report of any process, and of one that has no key.
func TestFleet_AddsUpTheProcesses(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	minute := caller.Limit{Metric: caller.Requests, Rate: 600, Period: time.Minute, Algorithm: caller.Bucket}
	a := join(t, rdb, concurrency(1), limits(minute))
	b := join(t, rdb, concurrency(1), limits(minute))
	for _, p := range []*caller.Pool{a, b} {
		for range 5 {
			if _, err := caller.Do(testkit.Context(t), p, nil, nop); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := hold(t, a)
	waiting, cancel := context.WithCancel(caller.WithOptions(context.Background(), caller.Options{Priority: caller.PriorityHigh}))
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = caller.Do(waiting, b, nil, nop)
	}()
	admin := openAdmin(t, rdb)
	var f *caller.Fleet
	testkit.Eventually(t, "two replicas, of which one has a call that waits", func() bool {
		var err error
		if f, err = admin.Fleet(testkit.Context(t)); err != nil {
			t.Fatal(err)
		}
		return len(f.Replicas) == 2 && len(f.Replicas[0].Waiting)+len(f.Replicas[1].Waiting) == 1
	})
	var succeeded int64
	for _, i := range f.History {
		succeeded += i.Succeeded
		if i.Succeeded > 0 && (i.P50 <= 0 || i.P99 < i.P50) {
			t.Errorf("latencies: got %v and %v, want more than 0 and in order", i.P50, i.P99)
		}
	}
	if succeeded != 10 {
		t.Errorf("calls that succeeded: got %d, want 10", succeeded)
	}
	var w caller.Waiting
	held := 0
	for _, r := range f.Replicas {
		held += r.Held["k"]
		for _, w = range r.Waiting {
			if w.Priority != caller.PriorityHigh || w.Calls != 1 || w.For != caller.ConstraintConcurrency {
				t.Errorf("waiting: got %+v, want one of high priority for a permit", w)
			}
		}
		if r.Drifted {
			t.Errorf("replica %s: got drift in %v, want none", r.Name, r.Differences)
		}
	}
	if held != 1 {
		t.Errorf("permits held: got %d, want 1", held)
	}
	if len(f.Usage) != 1 || f.Usage[0].Units != 11 || f.Usage[0].Share < 0.017 || f.Usage[0].Share > 0.019 {
		t.Errorf("usage: got %+v, want 11 of 600 requests", f.Usage)
	}
	end()
	<-done
}

// A process that is configured otherwise than most is named, with what differs.
func TestFleet_ShowsDrift(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	limit := caller.Limit{Metric: caller.Requests, Rate: 600, Period: time.Minute}
	other := limit
	other.Rate = 500
	pools := []*caller.Pool{join(t, rdb, limits(limit)), join(t, rdb, limits(limit)), join(t, rdb, limits(other), keys(key("k"), key("l")))}
	for _, p := range pools {
		if _, err := caller.Do(testkit.Context(t), p, nil, nop); err != nil {
			t.Fatal(err)
		}
	}
	var f *caller.Fleet
	testkit.Eventually(t, "three replicas", func() bool {
		var err error
		if f, err = pools[0].Fleet(testkit.Context(t)); err != nil {
			t.Fatal(err)
		}
		return len(f.Replicas) == 3
	})
	drifted := 0
	for _, r := range f.Replicas {
		if !r.Drifted {
			continue
		}
		drifted++
		if len(r.Differences) != 2 || r.Differences[0] != "keys" || r.Differences[1] != "limits" {
			t.Errorf("differences: got %v, want keys and limits", r.Differences)
		}
	}
	if drifted != 1 {
		t.Errorf("replicas that drifted: got %d, want 1", drifted)
	}
}

// An operator without the keys takes a key and an account out of use, and puts them back.
func TestAdmin_DisablesWithoutTheKeys(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p := join(t, rdb)
	if _, err := caller.OpenAdmin(testkit.Context(t), rdb, "p"); !errors.Is(err, caller.ErrNoPool) {
		t.Errorf("OpenAdmin of a pool that no process uses: got %v, want ErrNoPool", err)
	}
	if _, err := caller.Do(testkit.Context(t), p, nil, nop); err != nil {
		t.Fatal(err)
	}
	admin := openAdmin(t, rdb)
	ctx := testkit.Context(t)
	for _, op := range []struct {
		name    string
		disable func() error
		enable  func() error
	}{
		{"key", func() error { return admin.Disable(ctx, "k", "leaked") }, func() error { return admin.Enable(ctx, "k") }},
		{"account", func() error { return admin.DisableAccount(ctx, "k", "leaked") }, func() error { return admin.EnableAccount(ctx, "k") }},
	} {
		if err := op.disable(); err != nil {
			t.Fatalf("%s: %v", op.name, err)
		}
		if _, err := caller.Do(ctx, p, nil, nop); !errors.Is(err, caller.ErrNoKeys) || !contains(err, "leaked") {
			t.Errorf("a call with a disabled %s: got %v, want ErrNoKeys with the reason", op.name, err)
		}
		if err := op.enable(); err != nil {
			t.Fatalf("%s: %v", op.name, err)
		}
		if _, err := caller.Do(ctx, p, nil, nop); err != nil {
			t.Errorf("a call with the %s enabled again: got %v, want success", op.name, err)
		}
	}
}

// openAdmin returns an Admin of pool "p" once a process has reported, and closes it at the test's end.
func openAdmin(t *testing.T, rdb *redis.Client) *caller.Admin {
	t.Helper()
	var admin *caller.Admin
	testkit.Eventually(t, "a report of a process", func() bool {
		var err error
		admin, err = caller.OpenAdmin(testkit.Context(t), rdb, "p")
		return err == nil
	})
	t.Cleanup(func() {
		if err := admin.Close(testkit.Context(t)); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return admin
}
