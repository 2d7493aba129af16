package main

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/examples/internal/bench"
	"github.com/penstock/penstock/internal/apisim"
)

func setUp(t *testing.T, change func(*caller.Config, *apisim.Config)) (*bench.Bench, anthropic.Client) {
	t.Helper()
	b, err := bench.New(provider.Anthropic(), change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, newClient(b.Pool, b.Sim.URL())
}

func TestProgram(t *testing.T) {
	t.Parallel()
	if err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The pool makes three attempts. The library's own retries, two by default, would make nine of them.
func TestRetriesDoNotStack(t *testing.T) {
	t.Parallel()
	for kind, status := range map[apisim.Kind]int{
		apisim.Overloaded: http.StatusServiceUnavailable, apisim.Error: http.StatusInternalServerError, apisim.Reset: http.StatusBadGateway,
	} {
		b, client := setUp(t, func(_ *caller.Config, world *apisim.Config) {
			world.Failures = map[apisim.Kind]apisim.Failures{
				apisim.Overloaded: {Overloaded: 1}, apisim.Error: {Error: 1}, apisim.Reset: {Reset: 1},
			}[kind]
		})
		_, err := ask(t.Context(), client, "Hello?")
		e, ok := errors.AsType[*anthropic.Error](err)
		if !ok || e.StatusCode != status {
			t.Errorf("%s: got %v, want status %d", kind, err, status)
		}
		if n := b.Sim.Ledger().Accounts[0].Admitted; n != 3 {
			t.Errorf("%s: the provider got %d requests, want 3", kind, n)
		}
	}
}

// A call that the pool refuses is not tried again, and the library's error leads to the pool's.
func TestRefusalIsFinal(t *testing.T) {
	t.Parallel()
	b, client := setUp(t, func(cfg *caller.Config, _ *apisim.Config) {
		cfg.Limits = []caller.Limit{{Metric: caller.Requests, Rate: 1, Period: time.Hour}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if _, err := ask(ctx, client, "Hello?"); err != nil {
		t.Fatal(err)
	}
	_, err := ask(ctx, client, "Hello?")
	e, ok := errors.AsType[*anthropic.Error](err)
	if !ok || e.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("got %v, want a 429", err)
	}
	if why := caller.ErrorOf(e.Response); !errors.Is(why, caller.ErrDeadline) || why.RetryAfter < 30*time.Minute {
		t.Errorf("the pool's error is %v", why)
	}
	if s := b.Pool.Stats(); s.Calls != 2 || s.Attempts != 1 {
		t.Errorf("%d calls and %d attempts, want 2 and 1", s.Calls, s.Attempts)
	}
}

// A stream holds its permit until it ends, or is closed half-way; more of them than permits follow one another.
func TestStreamsReleaseTheirPermits(t *testing.T) {
	t.Parallel()
	b, client := setUp(t, func(cfg *caller.Config, _ *apisim.Config) { cfg.Concurrency = 1 })
	for range 3 {
		parts := 0
		if err := stream(t.Context(), client, "How are you today?", func(string) { parts++ }); err != nil || parts < 2 {
			t.Fatalf("%d parts, %v", parts, err)
		}
		events := client.Messages.NewStreaming(t.Context(), params("How are you?"))
		if !events.Next() {
			t.Fatal(events.Err())
		}
		if n := b.Pool.Stats().CallsInFlight; n != 1 {
			t.Errorf("%d in flight during a stream", n)
		}
		if err := events.Close(); err != nil {
			t.Error(err)
		}
		if n := b.Pool.Stats().CallsInFlight; n != 0 {
			t.Errorf("%d in flight after it was closed", n)
		}
	}
}

// What a call really cost is known once its answer, or stream, has been read.
func TestUsageIsSeen(t *testing.T) {
	t.Parallel()
	used := make(chan caller.Usage, 2)
	_, client := setUp(t, func(cfg *caller.Config, _ *apisim.Config) {
		cfg.Hooks.UsageRead = func(u caller.Usage) { used <- u }
	})
	if _, err := ask(t.Context(), client, "How are you today?"); err != nil {
		t.Fatal(err)
	}
	if err := stream(t.Context(), client, "How are you today?", func(string) {}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if u := <-used; u.Actual[caller.InputTokens] != 5 || u.Actual[caller.OutputTokens] != 5 || u.Model != "claude-sonnet-4-5" {
			t.Errorf("used %+v", u)
		}
	}
}
