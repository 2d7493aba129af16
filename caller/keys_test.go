package caller_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

func secretKeys(ids ...string) []caller.Key {
	var out []caller.Key
	for _, id := range ids {
		out = append(out, caller.Key{ID: id, Secret: caller.NewSecret("the secret of " + id)})
	}
	return out
}

// served makes n calls and returns how many each key served.
func served(t *testing.T, c *caller.Pool, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	for range n {
		key, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (string, error) { return g.Key, nil })
		if err != nil {
			t.Fatal(err)
		}
		count[key]++
	}
	return count
}

func TestDisable_InAllProcesses(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	here := join(t, rdb, keys(secretKeys("a", "b")...))
	there := join(t, redistest.Another(t, rdb), keys(secretKeys("a", "b")...))
	if n := served(t, there, 10); n["a"] == 0 || n["b"] == 0 {
		t.Fatalf("calls by key %v: want both in use", n)
	}
	if err := here.Disable(t.Context(), "a", "leaked in a log"); err != nil {
		t.Fatal(err)
	}
	if n := served(t, there, 10); n["a"] != 0 {
		t.Errorf("got the calls by key %v, want none with a", n)
	}
	state, err := there.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := state.Keys[0]; a.ID != "a" || a.Ready() || a.Reason != "leaked in a log" || a.Disabled < 24*time.Hour {
		t.Errorf("got %+v for key a, want it disabled", a)
	}
	if b := state.Keys[1]; b.ID != "b" || !b.Ready() {
		t.Errorf("got %+v for key b, want it ready", b)
	}
	if err := here.Disable(t.Context(), "b", "so is this"); err != nil {
		t.Fatal(err)
	}
	if _, err := caller.Do(t.Context(), there, nil, nop); !errors.Is(err, caller.ErrNoKeys) || !strings.Contains(err.Error(), "so is this") {
		t.Errorf("got %v with all keys disabled, want ErrNoKeys", err)
	}
	if err := there.Enable(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n := served(t, here, 10); n["a"] != 10 {
		t.Errorf("got the calls by key %v, want all with a", n)
	}
}

func TestSetKeys_WhileCallsGoOn(t *testing.T) {
	t.Parallel()
	c := join(t, redistest.Client(t), keys(secretKeys("a", "b")...), concurrency(1))
	endA, endB := hold(t, c), hold(t, c) // one on each
	fresh := []caller.Key{
		{ID: "b", Secret: caller.NewSecret("rotated"), Account: "b"},
		{ID: "c", Secret: caller.NewSecret("new")},
	}
	if err := c.SetKeys(fresh); err != nil {
		t.Fatal(err)
	}
	// b's permit is still in use: c alone serves.
	if n := served(t, c, 3); n["c"] != 3 {
		t.Errorf("calls by key %v, want c alone", n)
	}
	endA()
	endB()
	seen := map[string]string{}
	testkit.Eventually(t, "both keys serve", func() bool {
		_, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
			seen[g.Key] = g.Secret()
			return 0, nil
		})
		return err == nil && len(seen) == 2
	})
	if seen["b"] != "rotated" || seen["c"] != "new" {
		t.Errorf("got the secrets by key %v, want the new ones", seen)
	}
	if err := c.SetKeys(nil); err == nil {
		t.Error("got success without keys, want an error")
	}
	if err := c.SetKeys(append(fresh, fresh[0])); err == nil || strings.Contains(err.Error(), "rotated") {
		t.Errorf("got %v for a key that is there twice, want an error without its secret", err)
	}
	if n := served(t, c, 4); n["b"]+n["c"] != 4 {
		t.Errorf("got the calls by key %v after a refused set, want no change", n)
	}
}

func TestWatchKeys_LoadsAndReportsErrors(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var failed []error
	c := join(t, rdb, keys(secretKeys("a")...), func(cfg *caller.Config) {
		cfg.Hooks.KeysFailed = func(_ context.Context, err error) { failed = append(failed, err) }
	})
	synctest.Test(t, func(*testing.T) {
		loads := [][]caller.Key{nil, secretKeys("b"), secretKeys("b", "b"), secretKeys("c")}
		broken, done := errors.New("the file is gone"), make(chan error, 1)
		ctx, stop := context.WithCancelCause(context.Background())
		go func() {
			done <- c.WatchKeys(ctx, time.Minute, func(context.Context) ([]caller.Key, error) {
				if len(loads) == 4 {
					loads = loads[1:]
					return nil, broken
				}
				next := loads[0]
				if loads = loads[1:]; len(loads) == 0 {
					stop(errors.New("that was all"))
				}
				return next, nil
			})
		}()
		if err := <-done; err.Error() != "that was all" {
			t.Errorf("got the end %v, want the context's cause", err)
		}
		if len(failed) != 2 || !errors.Is(failed[0], broken) || !strings.Contains(failed[1].Error(), "appears twice") {
			t.Errorf("got the failures %v, want one for each bad set", failed)
		}
	})
	if n := served(t, c, 2); n["c"] != 2 {
		t.Errorf("got the calls by key %v, want some with the loaded keys", n)
	}
	if err := c.WatchKeys(t.Context(), 0, nil); err == nil {
		t.Error("got success with an interval of 0, want an error")
	}
}

// A call that is admitted with a key that is gone by the send time is made with another key, and once.
func TestSetKeys_AKeyThatIsGoneByTheSendTimeIsReplaced(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		hourly := caller.Limit{Metric: caller.Requests, Rate: 12, Period: 12 * time.Hour, Algorithm: caller.Bucket, Burst: 1}
		c := join(t, server.Client(t), keys(secretKeys("old")...), limits(hourly), unbounded, func(c *caller.Config) {
			c.Tuning.Horizon = 2 * time.Hour
		})
		urgent := caller.WithOptions(t.Context(), caller.Options{Priority: caller.PriorityHigh})
		if _, err := caller.Do(urgent, c, nil, nop); err != nil {
			t.Fatal(err)
		}
		var used []string
		done := make(chan error, 1)
		go func() { // booked an hour ahead
			_, err := caller.Do(urgent, c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
				used = append(used, g.Key+": "+g.Secret())
				return 0, nil
			})
			done <- err
		}()
		time.Sleep(time.Minute)
		if s := c.Stats(); s.CallsInFlight != 1 {
			t.Fatalf("got %+v, want a call that is admitted", s)
		}
		if err := c.SetKeys(secretKeys("new")); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("got %v, want no error", err)
		}
		if want := []string{"new: the secret of new"}; !slices.Equal(used, want) {
			t.Errorf("got calls with %q, want %q", used, want)
		}
		if s := c.Stats(); s.CallsInFlight != 0 {
			t.Errorf("got %d calls in flight afterwards, want 0", s.CallsInFlight)
		}
	})
}
