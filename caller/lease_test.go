package caller_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// A process that can't reach Redis ends its calls before another process gets their permits.
func TestLease_LossEndsTheCallFirst(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	short := func(c *caller.Config) { c.Tuning.SessionTTL = time.Second }
	var lost atomic.Int64
	cut := join(t, faults.Client(t, rdb.Options()), concurrency(1), short, func(c *caller.Config) {
		c.Hooks.LeaseLost = func(_ context.Context, n int, cause error) {
			lost.Add(int64(n))
			if !errors.Is(cause, caller.ErrLeaseLost) || !errors.As(cause, new(*scripts.Error)) {
				t.Errorf("got the cause %v, want ErrLeaseLost and the failed script call", cause)
			}
		}
	})
	other := join(t, redistest.Another(t, rdb), concurrency(1), short)

	var attempts atomic.Int64
	ended, done := make(chan struct{}), make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		_, err := caller.Do(context.Background(), cut, nil, func(ctx context.Context, _ *caller.Grant) (int, error) {
			if attempts.Add(1) > 1 {
				return 0, nil
			}
			close(begun)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), caller.ErrLeaseLost) {
				t.Errorf("got the cause %v of the call's end, want ErrLeaseLost", context.Cause(ctx))
			}
			close(ended)
			return 0, ctx.Err()
		})
		done <- err
	}()
	<-begun
	faults.Refuse()
	_, err := caller.Do(testkit.Context(t), other, nil, func(context.Context, *caller.Grant) (int, error) {
		select {
		case <-ended:
		default:
			t.Error("got the permit before its call ended, want it after")
		}
		return 0, nil
	})
	if err != nil {
		t.Error(err)
	}
	faults.Heal()
	if err := <-done; err != nil || attempts.Load() != 2 {
		t.Errorf("the call that lost its lease: %v after %d attempts, want success at the second", err, attempts.Load())
	}
	if lost.Load() != 1 {
		t.Errorf("the hook got %d calls", lost.Load())
	}
}

// Calls go on if that is configured. Redis gets their permits when it is back.
func TestLease_CallsContinueIfConfigured(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	short := func(c *caller.Config) { c.Tuning.SessionTTL = time.Second }
	cut := join(t, faults.Client(t, rdb.Options()), concurrency(1), short, func(c *caller.Config) { c.Tuning.ContinueOnLeaseLoss = true })
	other := join(t, redistest.Another(t, rdb), concurrency(1), short)
	end := hold(t, cut)
	faults.Refuse()
	if _, err := caller.Do(testkit.Context(t), other, nil, nop); err != nil { // a TTL later
		t.Error(err)
	}
	faults.Heal()
	testkit.Eventually(t, "the call's permit is known again", func() bool { held, _ := inRedis(t, rdb, "p"); return held == 1 })
	end()
}

// A call by HTTP that loses its lease ends, and is tried again as far as that is safe.
func TestLease_LossOverHTTP(t *testing.T) {
	t.Parallel()
	for name, method := range map[string]string{"safe to repeat": http.MethodGet, "not safe": http.MethodPost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			faults := redistest.NewFaults(t)
			var attempts atomic.Int64
			reached := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if attempts.Add(1) == 1 {
					close(reached)
					<-r.Context().Done() // the client has gone
				}
			}))
			defer server.Close()
			c := join(t, faults.Client(t, rdb.Options()), concurrency(1), func(c *caller.Config) { c.Tuning.SessionTTL = time.Second })
			client := &http.Client{Transport: c.Transport(nil, caller.TransportConfig{ErrorResponses: true})}
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(testkit.Context(t), method, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				<-reached
				faults.Refuse()
				testkit.Eventually(t, "the lease is lost", func() bool { return c.Stats().CallsInFlight == 0 })
				faults.Heal()
			}()
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			switch own := caller.ErrorOf(res); {
			case method == http.MethodGet && (res.StatusCode != http.StatusOK || attempts.Load() != 2):
				t.Errorf("status %d after %d attempts, want the second one's", res.StatusCode, attempts.Load())
			case method == http.MethodPost && (!errors.Is(own, caller.ErrLeaseLost) || attempts.Load() != 1):
				t.Errorf("%v after %d attempts, want ErrLeaseLost at the first", own, attempts.Load())
			}
		})
	}
}
