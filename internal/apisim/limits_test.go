package apisim

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A limit of tokens counts what calls are charged.
func TestLimit_CountsTokens(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Tokens, Limit: 10, Per: time.Hour}))
	f.want(request{}, 200) // 12 characters are 3 tokens
	f.want(request{body: `{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"x"}]}`}, 200)
	f.want(request{}, 429, `"type":"tokens"`)
	resp := f.want(request{body: `{"model":"m","max_tokens":11,"messages":[{"role":"user","content":"x"}]}`}, 429, "too large")
	if got := resp.header.Get("Retry-After"); got != "" {
		t.Errorf("Retry-After %q for a call that never fits", got)
	}
	if a := f.Ledger().Account("org"); a.Tokens != 10 || a.Limits[0].Admitted != 10 || a.Limits[0].PeakShare != 1 {
		t.Errorf("ledger %+v", a)
	}
}

// A limit of one model leaves other models alone.
func TestLimit_OfOneModel(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Requests, Limit: 1, Per: time.Hour, Model: "m"}))
	other := `{"model":"other","messages":[{"role":"user","content":"x"}]}`
	f.want(request{}, 200)
	f.want(request{}, 429)
	f.want(request{body: other}, 200)
	f.want(request{body: other}, 200)
}

// With ThrottledCount, refused calls count against limits of requests.
func TestLimit_CountsRefusedCalls(t *testing.T) {
	t.Parallel()
	for count, left := range map[bool]string{false: "1", true: "0"} {
		f := start(t, func(c *Config) {
			c.ThrottledCount = count
			c.Accounts[0].Limits = []Limit{{Metric: Requests, Limit: 2, Per: time.Hour}, {Metric: Tokens, Limit: 3, Per: time.Hour}}
		})
		f.want(request{}, 200)
		resp := f.want(request{}, 429, `"type":"tokens"`)
		if got := resp.header.Get("x-ratelimit-remaining-requests"); got != left {
			t.Errorf("ThrottledCount %t: %s requests remain, want %s", count, got, left)
		}
	}
}

// Another client's use counts against the limit.
func TestForeignUse_CountsAgainstTheLimit(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Requests, Limit: 5, Per: time.Hour}))
	if n, err := f.ForeignUse("org", Requests, 3); n != 3 || err != nil {
		t.Fatalf("ForeignUse = %d, %v", n, err)
	}
	if resp := f.want(request{}, 200); resp.header.Get("x-ratelimit-remaining-requests") != "1" {
		t.Errorf("remaining %s, want 1", resp.header.Get("x-ratelimit-remaining-requests"))
	}
	if n, err := f.ForeignUse("org", Requests, 3); n != 1 || err != nil {
		t.Fatalf("ForeignUse = %d, %v; want what is left", n, err)
	}
	f.want(request{}, 429)
	if l := f.Ledger().Account("org").Limits[0]; l.Admitted != 1 || l.Peak != 1 {
		t.Errorf("foreign use is in the clients' books: %+v", l)
	}
}

// A call is admitted after Retry-After, and not earlier.
func TestRetryAfter_IsExact(t *testing.T) {
	t.Parallel()
	f := start(t, limits(Limit{Metric: Requests, Limit: 2, Per: 150 * time.Millisecond}))
	served := 0
	for served < 6 {
		resp, err := f.call(request{})
		if err != nil {
			t.Fatal(err)
		}
		if resp.status == http.StatusOK {
			served++
			continue
		}
		d, err := time.ParseDuration(resp.header.Get("Retry-After-Ms") + "ms")
		if err != nil || d <= 0 || d > 150*time.Millisecond {
			t.Fatalf("Retry-After-Ms %q", resp.header.Get("Retry-After-Ms"))
		}
		time.Sleep(d) // then it fits, and no later
		f.want(request{}, 200)
		served++
	}
	if l := f.Ledger().Account("org"); l.Limits[0].Peak > 2 {
		t.Errorf("ledger %+v", l)
	}
}

// Many goroutines call an account through two keys. What the clients saw admitted within one window, by their own clocks,
// doesn't exceed the limit. The request comes before the admission and the answer after it, so only calls that began after
// t and ended before t+Per are sure to be in one window.
func TestLimit_HoldsInEveryWindow(t *testing.T) {
	t.Parallel()
	const limit, per, inFlight = 50, 200 * time.Millisecond, 8
	f := start(t, func(c *Config) {
		c.Accounts[0].Limits = []Limit{{Metric: Requests, Limit: limit, Per: per}}
		c.Accounts[0].Concurrency = inFlight
		c.Latency = Latency{Min: time.Millisecond, Max: 3 * time.Millisecond}
	})
	type span struct{ from, to time.Time }
	var mu sync.Mutex
	var log []span
	var refused atomic.Int64
	end := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for time.Now().Before(end) {
				from := time.Now()
				resp, err := f.call(request{secret: []string{"sk-1", "sk-2"}[i%2]})
				if err != nil {
					t.Error(err)
					return
				}
				if resp.status != http.StatusOK {
					refused.Add(1)
					continue
				}
				mu.Lock()
				log = append(log, span{from, time.Now()})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, a := range log {
		n := 0
		for _, b := range log {
			if b.from.After(a.from) && b.to.Before(a.from.Add(per)) {
				n++
			}
		}
		if n > limit {
			t.Fatalf("%d calls within %v, limit %d", n, per, limit)
		}
	}
	l := f.Ledger()
	a := l.Account("org")
	if a.Limits[0].Peak != limit || a.MostInFlight > inFlight || a.Admitted != int64(len(log)) {
		t.Errorf("ledger %+v; the clients saw %d admitted", a, len(log))
	}
	if l.Throttled() != refused.Load() || a.Keys[0].Admitted+a.Keys[1].Admitted != a.Admitted {
		t.Errorf("%d refused in the ledger, %d seen; keys %+v", l.Throttled(), refused.Load(), a.Keys)
	}
}

// A client that sends its next call at the end of an answer never has one call too many in flight.
func TestConcurrency_FreesThePermitBeforeTheEnd(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.Accounts[0].Concurrency = 1 })
	for range 300 {
		f.want(request{}, 200)
		f.want(request{body: `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}`}, 200, "[DONE]")
	}
	if l := f.Ledger(); l.Throttled() != 0 || l.Account("org").MostInFlight != 1 {
		t.Errorf("ledger %+v", l)
	}
}

// Calls above the concurrency are refused.
func TestConcurrency_RefusesCallsAbove(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) {
		c.Accounts[0].Concurrency = 1
		c.Failures.Hang = 1
	})
	admitted := make(chan struct{})
	f.cfg.OnAdmit = func(int64) { close(admitted) }
	ctx, cancel := contextOf(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := send(ctx, f.client, f.URL(), request{}); err == nil {
			t.Error("a call that hangs was answered")
		}
	})
	<-admitted
	resp := f.want(request{secret: "sk-2"}, 429, "in flight")
	if resp.header.Get("Retry-After") != "" {
		t.Error("Retry-After where nobody knows")
	}
	cancel()
	wg.Wait()
}

// The mean of calls in flight is weighted by time.
func TestLedger_WeighsCallsInFlightByTime(t *testing.T) {
	t.Parallel()
	now := time.Second
	a := newAccount(Account{ID: "org"}, func() time.Duration { return now })
	k := &key{account: a, counts: newCounts()}
	for _, step := range []int{1, 1, -1, -1} { // 0 for 1 s, then 1, 2, 1 for a second each
		if step > 0 {
			a.admit(k, &chatRequest{}, "", false, false)
		} else {
			a.leave()
		}
		now += time.Second
	}
	s := &Server{accounts: []*account{a}}
	if l := s.Ledger().Account("org"); l.MeanInFlight != 4.0/3 || l.MostInFlight != 2 {
		t.Errorf("mean %v, most %d; want 4/3 and 2", l.MeanInFlight, l.MostInFlight)
	}
}
