package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
)

// Example is an example over a client library, as the suite tests it.
type Example struct {
	Profile caller.Profile
	Model   string // of its questions
	EnvName string // prefix of its environment variables
	// Run runs the program.
	Run func(ctx context.Context, env func(string) string, out io.Writer) error
	// NewClient returns a client of the provider at a URL whose requests are calls of the pool.
	NewClient func(pool *caller.Pool, url string) Client
}

// Client is a client library.
type Client interface {
	Ask(ctx context.Context, question string) (string, error)
	Stream(ctx context.Context, question string, show func(string)) error
	// Open opens a stream and reads its first event.
	Open(ctx context.Context, question string) (io.Closer, error)
	// Response returns the response of an error of the library, or nil.
	Response(err error) *http.Response
}

// Test runs the suite.
func (e Example) Test(t *testing.T) {
	for name, test := range map[string]func(*testing.T, Example){
		"Program_RunsOverItsEnvironment": program, "Retries_AreMadeByThePoolAlone": retries,
		"Refusal_IsFinal": refusal, "Stream_ReleasesItsPermit": streams, "Usage_IsRead": usage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// start returns a Bench for the example and a client over it.
func (e Example) start(t *testing.T, change func(*caller.Config, *apisim.Config)) (*Bench, Client) {
	t.Helper()
	b, err := New(e.Profile, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, e.NewClient(b.Pool, b.Sim.URL())
}

// The program asks its questions with the keys, the provider and the Redis that the environment names.
func program(t *testing.T, e Example) {
	b, _ := e.start(t, nil)
	env := map[string]string{
		e.EnvName + "_API_KEYS": "secret-1,secret-2", e.EnvName + "_BASE_URL": b.Sim.URL(), "REDIS_URL": b.RedisURL(),
	}
	var out bytes.Buffer
	if err := e.Run(t.Context(), func(name string) string { return env[name] }, &out); err != nil {
		t.Fatal(err)
	}
	if n := b.Sim.Ledger().Accounts[0].Admitted; n != 2 || out.Len() == 0 {
		t.Errorf("got %d requests and the output %q, want 2 and two answers", n, out.String())
	}
	if err := e.Run(t.Context(), func(string) string { return "" }, &out); err == nil {
		t.Error("got no error without an environment, want one")
	}
}

// The pool makes three attempts. The library's own retries, two by default, would make nine of them.
func retries(t *testing.T, e Example) {
	for kind, status := range map[apisim.Kind]int{
		apisim.Overloaded: http.StatusServiceUnavailable, apisim.Error: http.StatusInternalServerError, apisim.Reset: http.StatusBadGateway,
	} {
		b, client := e.start(t, func(_ *caller.Config, world *apisim.Config) {
			world.Failures = map[apisim.Kind]apisim.Failures{
				apisim.Overloaded: {Overloaded: 1}, apisim.Error: {Error: 1}, apisim.Reset: {Reset: 1},
			}[kind]
		})
		_, err := client.Ask(t.Context(), "Hello?")
		if res := client.Response(err); res == nil || res.StatusCode != status {
			t.Errorf("%s: got %v, want status %d", kind, err, status)
		}
		if n := b.Sim.Ledger().Accounts[0].Admitted; n != 3 {
			t.Errorf("%s: got %d requests, want 3", kind, n)
		}
	}
}

// A call that the pool refuses is not tried again, and the library's error holds the pool's.
func refusal(t *testing.T, e Example) {
	b, client := e.start(t, func(cfg *caller.Config, _ *apisim.Config) {
		cfg.Limits = []caller.Limit{{Metric: caller.Requests, Rate: 1, Period: time.Hour}}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if _, err := client.Ask(ctx, "Hello?"); err != nil {
		t.Fatal(err)
	}
	_, err := client.Ask(ctx, "Hello?")
	res := client.Response(err)
	if res == nil || res.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("got %v, want a 429", err)
	}
	if why := caller.ErrorOf(res); !errors.Is(why, caller.ErrDeadline) || why.RetryAfter < 30*time.Minute {
		t.Errorf("got the pool's error %v, want ErrDeadline for most of an hour", why)
	}
	if s := b.Pool.Stats(); s.Calls != 2 || s.Attempts != 1 {
		t.Errorf("got %d calls and %d attempts, want 2 and 1", s.Calls, s.Attempts)
	}
}

// A stream holds its permit until it ends or is closed. With one permit, further streams follow one another.
func streams(t *testing.T, e Example) {
	b, client := e.start(t, func(cfg *caller.Config, _ *apisim.Config) { cfg.Concurrency = 1 })
	for range 3 {
		parts := 0
		if err := client.Stream(t.Context(), "How are you today?", func(string) { parts++ }); err != nil || parts < 2 {
			t.Fatalf("got %d parts, %v, want several", parts, err)
		}
		open, err := client.Open(t.Context(), "How are you?")
		if err != nil {
			t.Fatal(err)
		}
		if n := b.Pool.Stats().CallsInFlight; n != 1 {
			t.Errorf("got %d calls in flight during a stream, want 1", n)
		}
		if err := open.Close(); err != nil {
			t.Error(err)
		}
		if n := b.Pool.Stats().CallsInFlight; n != 0 {
			t.Errorf("got %d calls in flight after Close, want 0", n)
		}
	}
}

// The usage of a call is reported when its response, or stream, has been read.
func usage(t *testing.T, e Example) {
	used := make(chan caller.Usage, 2)
	_, client := e.start(t, func(cfg *caller.Config, _ *apisim.Config) {
		cfg.Hooks.UsageRead = func(_ context.Context, u caller.Usage) { used <- u }
	})
	if _, err := client.Ask(t.Context(), "How are you today?"); err != nil {
		t.Fatal(err)
	}
	if err := client.Stream(t.Context(), "How are you today?", func(string) {}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if u := <-used; u.Actual[caller.InputTokens] != 5 || u.Actual[caller.OutputTokens] != 5 || u.Model != e.Model {
			t.Errorf("got %+v, want 5 and 5 tokens of %s", u, e.Model)
		}
	}
}
