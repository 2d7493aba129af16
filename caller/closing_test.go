package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

// Close ends a call that waits for its next attempt.
func TestClose_EndsBackoffs(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb)
	failed, over := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		_, err := caller.Do(context.Background(), c, nil, func(context.Context, *caller.Grant) (int, error) {
			failed <- struct{}{}
			return 0, retry.After(errors.New("overloaded"), time.Hour/8)
		})
		over <- err
	}()
	testkit.Receive(t, "the first attempt", failed)
	testkit.Eventually(t, "it has ended", func() bool { return c.Stats().CallsInFlight == 0 })
	if err := c.Close(testkit.Context(t)); err != nil {
		t.Fatal(err)
	}
	if err := testkit.Receive(t, "the call's end", over); !errors.Is(err, caller.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// A call that is in flight when Close gives up ends before another process gets its permit.
func TestClose_ACallInFlightKeepsItsPermit(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	short := func(c *caller.Config) { c.Concurrency, c.Tuning.SessionTTL = 1, 2*time.Second }
	cfg := caller.Config{Name: "p", Keys: []caller.Key{key("k")}}
	short(&cfg)
	old, err := caller.New(redistest.Another(t, rdb), cfg)
	if err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = caller.Do(context.Background(), old, nil, func(ctx context.Context, _ *caller.Grant) (int, error) {
			close(begun)
			<-ctx.Done()
			close(ended)
			return 0, ctx.Err()
		})
	}()
	testkit.Receive(t, "the call", begun)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := old.Close(ctx); err == nil {
		t.Error("got no error from Close with a call in flight, want one")
	}
	next := join(t, redistest.Another(t, rdb), short)
	if _, err := caller.Do(testkit.Context(t), next, nil, func(context.Context, *caller.Grant) (int, error) {
		select {
		case <-ended:
		default:
			t.Error("got the permit while the other process's call goes on, want its end first")
		}
		return 0, nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Close returns permits to a Redis that comes back within its time, however often it failed before.
func TestClose_TriesForItsOwnTime(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	opts := rdb.Options()
	opts.DialerRetries = 1
	c, err := caller.New(faults.Client(t, opts), caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Concurrency: 2})
	if err != nil {
		t.Fatal(err)
	}
	end := hold(t, c)
	faults.Refuse()
	end()
	closed := make(chan error, 1)
	go func() { closed <- c.Close(testkit.Context(t)) }()
	select {
	case err := <-closed:
		t.Fatalf("got %v from Close while Redis is away, want it to try again", err)
	case <-time.After(3 * time.Second):
	}
	faults.Heal()
	if err := testkit.Receive(t, "Close", closed); err != nil {
		t.Errorf("got %v from Close, want success once Redis is back", err)
	}
}

// The response that a function of Do returns can be read to its end, and holds the permit so long.
func TestDo_AResponseHoldsThePermit(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			_, _ = io.WriteString(w, "line\n")
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer server.Close()
	c := join(t, rdb, concurrency(5))
	res, err := caller.Do(t.Context(), c, nil, func(ctx context.Context, _ *caller.Grant) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return nil, err
		}
		return http.DefaultClient.Do(req)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Stats().CallsInFlight; n != 1 {
		t.Errorf("got %d calls in flight before the body was read, want 1", n)
	}
	if b, err := io.ReadAll(res.Body); err != nil || len(b) != 15 {
		t.Errorf("got %d bytes, %v, want all 15", len(b), err)
	}
	res.Body.Close()
	if n := c.Stats().CallsInFlight; n != 0 {
		t.Errorf("got %d calls in flight after the body was read, want 0", n)
	}
}

// Retry.Retryable decides on transient failures.
func TestRetryable_IsAsked(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	asked, sent := 0, 0
	c := join(t, rdb, func(cfg *caller.Config) { cfg.Retry.Retryable = func(error) bool { asked++; return false } })
	_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
		sent++
		return 0, &caller.StatusError{StatusCode: http.StatusServiceUnavailable}
	})
	if err == nil || asked != 1 || sent != 1 {
		t.Errorf("got %v after %d attempts and %d questions, want one of each", err, sent, asked)
	}
}
