package caller_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
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
	impatient, leave := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() {
		_, err := caller.Do(impatient, c, nil, call)
		left <- err
	}()
	during := <-begun
	var wg sync.WaitGroup
	var joined atomic.Int64
	for range 8 {
		wg.Go(func() {
			joined.Add(1)
			if v, err := caller.Do(ctx, c, nil, call); v != "answer" || err != nil {
				t.Errorf("got %q, %v", v, err)
			}
		})
	}
	for joined.Load() < 8 || c.SharedCallers("question") < 9 {
		time.Sleep(time.Millisecond)
	}
	leave()
	var e *caller.Error
	if err := <-left; !errors.Is(err, context.Canceled) || !errors.As(err, &e) {
		t.Errorf("who left got %v", err)
	}
	if during.Err() != nil {
		t.Error("the first one's leaving ended the call of the others")
	}
	close(over)
	wg.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("%d calls were made", n)
	}
	// And one that nobody waits for ends.
	over = make(chan struct{})
	impatient, leave = context.WithCancel(ctx)
	go func() {
		_, err := caller.Do(impatient, c, nil, call)
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
			t.Errorf("recovered %v", got)
		}
		if n := c.Stats().CallsInFlight; n != 0 {
			t.Errorf("%d in flight", n)
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
	}), caller.TransportConfig{ReturnErrors: true})
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
				t.Errorf("read %q, %v", body, err)
			}
		})
	}
	<-begun
	for c.SharedRequests("question") < 4 {
		time.Sleep(time.Millisecond)
	}
	close(over)
	wg.Wait()
	if n := sent.Load(); n != 1 {
		t.Errorf("%d requests were sent", n)
	}
}
