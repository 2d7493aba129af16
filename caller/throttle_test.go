package caller_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/retry"
)

// accounts returns n keys of an account each.
func accounts(n int) func(*caller.Config) {
	return func(c *caller.Config) {
		c.Keys = nil
		for i := range n {
			c.Keys = append(c.Keys, key(fmt.Sprint("k", i)))
		}
	}
}

// A storm of 429s without a wait fails no call, whatever number of attempts is allowed, and is over soon after its end.
// Meanwhile the accounts are asked ever less often.
func TestThrottled_AStormFailsNoCall(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		const storm = 5 * time.Second
		begun := time.Now()
		var refused atomic.Int64
		last := begun
		var mu sync.Mutex
		call := func(context.Context, *caller.Grant) (int, error) {
			time.Sleep(100 * time.Millisecond)
			if time.Since(begun) < storm {
				refused.Add(1)
				return 0, verdict{caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount}}
			}
			return 0, nil
		}
		var wg sync.WaitGroup
		for range 2 {
			c := join(t, server.Client(t), accounts(6), concurrency(2), func(cfg *caller.Config) { cfg.Retry.Attempts = 2 })
			for range 20 {
				wg.Go(func() {
					if _, err := caller.Do(t.Context(), c, nil, call); err != nil {
						t.Errorf("got %v, want success after the storm", err)
					}
					mu.Lock()
					defer mu.Unlock()
					last = time.Now()
				})
			}
		}
		wg.Wait()
		if late := last.Sub(begun) - storm; late > 2*time.Second {
			t.Errorf("got the last call %v after the storm, want 2s at most", late)
		}
		if n := refused.Load(); n > 6*2*8 { // an account, its permits, and a cooldown of 0.5 s that grows by a fifth
			t.Errorf("got %d requests refused, want less than 97", n)
		}
	})
}

// The cooldown grows while 429s go on, over all processes, and begins anew once the account has served a call.
func TestThrottled_TheCooldownGrows(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		a, b := join(t, server.Client(t)), join(t, server.Client(t))
		begun := time.Now()
		n := 0
		var gaps []time.Duration
		last := begun
		refuse := func(context.Context, *caller.Grant) (int, error) {
			gaps, last = append(gaps, time.Since(last)), time.Now()
			if n++; n%12 == 0 {
				return 0, nil
			}
			return 0, verdict{caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount}}
		}
		for _, c := range []*caller.Pool{a, b} { // one after the other
			if _, err := caller.Do(t.Context(), c, nil, refuse); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if len(gaps) != 24 {
			t.Fatalf("got %d attempts, want 24", len(gaps))
		}
		for _, at := range []int{11, 23} {
			if gaps[at] < 2*time.Second || gaps[at] > 12*time.Second {
				t.Errorf("got a cooldown of %v after eleven 429s, want 2s to 12s", gaps[at])
			}
		}
		if gaps[13] > 700*time.Millisecond {
			t.Errorf("got a cooldown of %v after a success, want the first again", gaps[13])
		}
	})
}

// A call without a deadline ends after ten minutes; with one, or with a negative Timeout, it doesn't.
func TestTimeout_IsTenMinutesByDefault(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		throttled := func(context.Context, *caller.Grant) (int, error) {
			return 0, verdict{caller.Verdict{Outcome: caller.Throttled, Scope: caller.ScopeAccount}}
		}
		for _, own := range []time.Duration{0, time.Hour} {
			ctx, want := t.Context(), caller.DefaultTimeout
			if own > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, own)
				defer cancel()
				want = own
			}
			begun := time.Now()
			_, err := caller.Do(ctx, join(t, server.Client(t)), nil, throttled)
			if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took < want-2*time.Minute || took > want {
				t.Errorf("got %v after %v, want a deadline at %v", err, took, want)
			}
		}
	})
}

// A connection that can't be made is no attempt: a call goes on when the server is back.
func TestNeverSent_IsNoAttempt(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	addr := server.Listener.Addr().String()
	server.Listener.Close()
	_, rdb := redistest.Mini(t)
	var tries atomic.Int64
	back := make(chan struct{})
	c := join(t, rdb, func(cfg *caller.Config) {
		cfg.Retry = retry.Policy{Attempts: 2, Base: time.Millisecond, Max: 10 * time.Millisecond}
		cfg.Hooks.Attempted = func(context.Context, caller.Attempt) {
			if tries.Add(1) == 10 {
				close(back)
			}
		}
	})
	go func() {
		<-back
		again, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		server.Listener = again
		server.Start()
	}()
	res, err := (&http.Client{Transport: c.Transport(nil, caller.TransportConfig{})}).Post("http://"+addr, "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	server.Close()
	if n := tries.Load(); n < 11 {
		t.Errorf("got success after %d attempts, want more than ten", n)
	}
}

// A call that waits for a permit isn't sent if less time is left than such calls take of late.
func TestDeadline_ReckonsWithTheDuration(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		var sent, ended atomic.Int64
		c := join(t, server.Client(t), concurrency(5))
		var wg sync.WaitGroup
		until := time.Now().Add(4 * time.Second)
		for range 200 {
			wg.Go(func() {
				for time.Now().Before(until) {
					ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
					_, err := caller.Do(ctx, c, nil, func(ctx context.Context, _ *caller.Grant) (int, error) {
						sent.Add(1)
						select {
						case <-time.After(5 * time.Millisecond):
							ended.Add(1)
							return 0, nil
						case <-ctx.Done():
							return 0, ctx.Err()
						}
					})
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v, want a deadline", err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		if s, e := sent.Load(), ended.Load(); e < 1000 || e*10 < s*9 {
			t.Errorf("got %s of %d calls of use, want nine of ten and 1000 at least", strconv.FormatInt(e, 10), s)
		}
	})
}

// A 429 that says that the provider is busy is waited out, too.
func TestThrottled_ABusyProviderIsWaitedOut(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T, server *testkit.BubbleServer) {
		c := join(t, server.Client(t), func(cfg *caller.Config) {
			cfg.Profile.Judge = func(*http.Response, []byte) caller.Verdict {
				return caller.Verdict{Outcome: caller.Overloaded, Scope: caller.ScopeProvider}
			}
		})
		n := 0
		_, err := caller.Do(t.Context(), c, nil, func(context.Context, *caller.Grant) (int, error) {
			if n++; n < 10 {
				return 0, &caller.StatusError{StatusCode: http.StatusTooManyRequests}
			}
			return 0, nil
		})
		if err != nil || n != 10 {
			t.Errorf("got %v after %d attempts, want success at the tenth", err, n)
		}
	})
}
