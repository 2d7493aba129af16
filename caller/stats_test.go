package caller_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

// work makes calls of the given length, a few at a time, for about half a second.
func work(t *testing.T, c *caller.Pool, workers int, cost caller.Cost, length time.Duration) {
	t.Helper()
	end := time.Now().Add(500 * time.Millisecond)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for time.Now().Before(end) {
				_, err := caller.Do(testkit.Context(t), c, cost, func(context.Context, *caller.Grant) (int, error) {
					time.Sleep(length)
					return 0, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// What held calls back is named, and nothing is where nothing did.
func TestStats_NameTheBottleneck(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		t.Parallel()
		requests := caller.Limit{Metric: caller.Requests, Rate: 20, Period: 500 * time.Millisecond}
		plenty := caller.Limit{Metric: caller.Requests, Rate: 1_000_000, Period: time.Second, Burst: 1000}
		tokens := caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: 500 * time.Millisecond}
		for _, test := range []struct {
			want    string
			workers int
			change  func(*caller.Config)
		}{
			{"requests", 8, limits(requests)},
			{"tokens", 8, limits(plenty, tokens)},
			{caller.ConstraintConcurrency, 8, concurrency(2)},
			{"", 2, concurrency(4)},
			{"", 2, limits(plenty)},
		} {
			t.Run(test.want, func(t *testing.T) {
				t.Parallel()
				c := join(t, rdb, test.change, roomy, func(cfg *caller.Config) { cfg.Name = t.Name() })
				work(t, c, test.workers, caller.Cost{caller.Tokens: 50}, 5*time.Millisecond)
				s := c.Stats()
				if s.Bottleneck != test.want {
					t.Errorf("bound by %q, want %q: %+v", s.Bottleneck, test.want, s)
				}
				if s.Calls == 0 || s.CallsSucceeded != s.Calls || s.Attempts != s.Calls || s.CallsWaiting+s.CallsInFlight != 0 {
					t.Errorf("got %+v, want each call and attempt counted once and none left", s)
				}
			})
		}
	})
}

// Every grant and every attempt is shown to the hooks, with its number, and whether another follows.
func TestHooks_ObserveEverything(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var admitted []caller.Admission
	var attempts []caller.Attempt
	var cooled, disabled []caller.Block
	c := join(t, rdb, keys(caller.Key{ID: "a", Secret: caller.NewSecret("1"), Account: "org"}, key("b")),
		limits(perMinute(1000)), func(cfg *caller.Config) {
			cfg.Retry = retry.Policy{Attempts: 4, Base: time.Millisecond}
			cfg.Hooks.Admitted = func(_ context.Context, a caller.Admission) { admitted = append(admitted, a) }
			cfg.Hooks.Attempted = func(_ context.Context, a caller.Attempt) { attempts = append(attempts, a) }
			cfg.Hooks.CooledDown = func(_ context.Context, c caller.Block) { cooled = append(cooled, c) }
			cfg.Hooks.Disabled = func(_ context.Context, c caller.Block) { disabled = append(disabled, c) }
		})
	answers := []int{503, 429, 401, 200}
	var used []string
	_, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (int, error) {
		status := answers[g.Attempt-1]
		used = append(used, g.Account)
		if status == 200 {
			return 0, nil
		}
		h := http.Header{"Retry-After-Ms": {"10"}}
		return 0, &caller.StatusError{StatusCode: status, Header: h}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(admitted) != 4 || len(attempts) != 4 || len(cooled) != 1 || len(disabled) != 1 {
		t.Fatalf("got %d admitted, %d attempted, %d cooled down, %d disabled, want 4, 4, 1, 1", len(admitted), len(attempts), len(cooled), len(disabled))
	}
	for i, a := range attempts {
		if a.Number != i+1 || a.Retrying != (i < 3) || a.Account != used[i] || a.Account != admitted[i].Account || a.Key != admitted[i].Key {
			t.Errorf("attempt %d: got %+v, admission %+v, want the number, and the account %s", i, a, admitted[i], used[i])
		}
		if i < 3 && a.Status != answers[i] || (a.Err == nil) != (i == 3) {
			t.Errorf("attempt %d: got %+v, want the status and error of its response", i, a)
		}
	}
	if cooled[0].Account != used[1] || cooled[0].Key != "" || cooled[0].For < 10*time.Millisecond || cooled[0].Reason != "429" {
		t.Errorf("got the cooldown %+v, want that of the throttled account", cooled[0])
	}
	if disabled[0].Key != attempts[2].Key || disabled[0].For <= 0 || used[3] == used[2] {
		t.Errorf("got the block %+v, then a call on %q, want the rejected key blocked and another account", disabled[0], used[3])
	}
	if s := c.Stats(); s.Attempts != 4 || s.AttemptsThrottled != 1 || s.CallsSucceeded != 1 {
		t.Errorf("got %+v, want each call and attempt counted once and none left", s)
	}
}

// What the caller's own function says about an error is obeyed.
func TestVerdict_OfTheErrorItself(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, func(cfg *caller.Config) { cfg.Retry = retry.Policy{Attempts: 3, Base: time.Millisecond} })
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"unknown":   {plain, 1},
		"permanent": {retry.Permanent(&caller.StatusError{StatusCode: 503}), 1},
		"after":     {retry.After(plain, time.Millisecond), 3},
		"transient": {verdictError{caller.Transient}, 3},
		"fault":     {verdictError{caller.ClientError}, 1},
		"status":    {&caller.StatusError{StatusCode: 500}, 3},
	} {
		var numbers []int
		v, err := caller.Do(t.Context(), c, nil, func(_ context.Context, g *caller.Grant) (string, error) {
			numbers = append(numbers, g.Attempt)
			return "last", test.err
		})
		var e *caller.Error
		if len(numbers) != test.want || !slices.IsSorted(numbers) || !errors.Is(err, test.err) || v != "last" {
			t.Errorf("%s: got the attempts %v, %q, %v, want as many as the error permits, and the last value", name, numbers, v, err)
		}
		if !errors.As(err, &e) || e.Attempts != test.want || e.Key != "k" {
			t.Errorf("%s: got %+v, want the key and the number of attempts", name, e)
		}
	}
}

type verdictError struct{ outcome caller.Outcome }

func (e verdictError) Error() string           { return "says " + e.outcome.String() }
func (e verdictError) Verdict() caller.Verdict { return caller.Verdict{Outcome: e.outcome} }
