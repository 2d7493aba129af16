package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// Equal calls at the same time are one call. It goes on when the first caller leaves, and ends when the last one does.
func TestDedup_MakesOneCall(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick)
	ctx := caller.WithOptions(t.Context(), caller.Options{DedupKey: "question"})
	var made atomic.Int64
	begun, over := make(chan context.Context, 1), make(chan struct{})
	call := func(ctx context.Context, _ *caller.Grant) (string, error) {
		made.Add(1)
		begun <- ctx
		select {
		case <-over:
			return "answer", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	leaving, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() {
		_, err := caller.Do(leaving, c, nil, call)
		left <- err
	}()
	during := <-begun
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if v, err := caller.Do(ctx, c, nil, call); v != "answer" || err != nil {
				t.Errorf("got %q, %v, want the answer", v, err)
			}
		})
	}
	testkit.Eventually(t, "9 callers share the call", func() bool { return c.SharedCallers("question") == 9 })
	leave()
	var e *caller.Error
	if err := <-left; !errors.Is(err, context.Canceled) || !errors.As(err, &e) {
		t.Errorf("got %v for the caller that left, want an *Error and context.Canceled", err)
	}
	if during.Err() != nil {
		t.Error("got the end of the call when its first caller left, want it to go on")
	}
	close(over)
	wg.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("got %d calls, want 1", n)
	}
	// When its last caller leaves, the call ends.
	over = make(chan struct{})
	leaving, leave = context.WithCancel(ctx)
	go func() {
		_, err := caller.Do(leaving, c, nil, call)
		left <- err
	}()
	during = <-begun
	leave()
	<-left
	<-during.Done()
}

// A panic of a shared call is raised in its callers, and its permit is released.
func TestDedup_RaisesAPanicInTheCaller(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick)
	defer func() {
		if got := recover(); got != "mine" {
			t.Errorf("got the panic %v, want mine", got)
		}
		if n := c.Stats().CallsInFlight; n != 0 {
			t.Errorf("got %d calls in flight, want 0", n)
		}
	}()
	_, _ = caller.Do(caller.WithOptions(t.Context(), caller.Options{DedupKey: "x"}), c, nil,
		func(context.Context, *caller.Grant) (int, error) { panic("mine") })
}

// Each request that shares a call gets a response of its own.
func TestDedup_GivesEachRequestAResponse(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, quick)
	begun, over := make(chan struct{}, 1), make(chan struct{})
	var sent atomic.Int64
	transport := c.Transport(tripper(func(r *http.Request) (*http.Response, error) {
		sent.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		begun <- struct{}{}
		<-over
		return ok(r), nil
	}), caller.TransportConfig{})
	ctx := caller.WithOptions(t.Context(), caller.Options{DedupKey: "question"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			req := request(t, ctx, http.MethodPost)
			res, err := transport.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Header.Set("Mine", "mine")
			if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil || res.Request != req {
				t.Errorf("got the body %q, %v, want ok and the request's own response", body, err)
			}
		})
	}
	<-begun
	testkit.Eventually(t, "4 requests share the call", func() bool { return c.SharedRequests("question") == 4 })
	close(over)
	wg.Wait()
	if n := sent.Load(); n != 1 {
		t.Errorf("got %d requests, want 1", n)
	}
}
