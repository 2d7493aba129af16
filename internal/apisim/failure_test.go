package apisim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

func failing(kind Kind, rate float64) func(*Config) {
	return func(c *Config) { *c.Failures.rate(kind) = rate }
}

// Injected failures count against the limits, unless they are free.
func TestFailures_CountAgainstTheLimit(t *testing.T) {
	t.Parallel()
	for _, free := range []bool{false, true} {
		f := start(t, func(c *Config) {
			c.Failures.Overloaded = 1
			c.FailuresAreFree = free
			c.Accounts[0].Limits = []Limit{{Metric: Requests, Limit: 1, Per: time.Hour}}
		})
		f.want(request{}, 503, "overloaded")
		f.want(request{}, map[bool]int{false: 429, true: 503}[free])
	}
}

// A reset and a cut break the connection, and the call counts as served.
func TestFailures_BreakTheConnection(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		for _, kind := range []Kind{Reset, Cut} {
			t.Run(fmt.Sprintf("%s/stream=%t", kind, stream), func(t *testing.T) {
				t.Parallel()
				f := start(t, failing(kind, 1))
				body := fmt.Sprintf(`{"model":"m","stream":%t,"messages":[{"role":"user","content":"Hello, world"}]}`, stream)
				resp, err := f.call(request{id: "x", body: body})
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%v %v, want a broken connection", resp, err)
				}
				if err := f.SetFailure(kind, 0); err != nil {
					t.Fatal(err)
				}
				f.want(request{id: "x", body: body}, 200)
				if l := f.Ledger(); l.Calls != 1 || l.ServedTwice != 1 || l.UnexplainedTwice != 0 {
					t.Errorf("ledger %+v, want one call, served twice for a reason", l)
				}
				f.want(request{id: "x", body: body}, 200)
				if l := f.Ledger(); l.UnexplainedTwice != 1 {
					t.Errorf("ledger %+v, want one call served too often", l)
				}
			})
		}
	}
}

// Which calls fail follows from the seed and the IDs, not from the order or the timing.
func TestFates_FollowFromSeedAndID(t *testing.T) {
	t.Parallel()
	const calls = 400
	run := func(seed uint64) string {
		f := start(t, func(c *Config) {
			c.Seed = seed
			c.Failures = Failures{Overloaded: 0.1, Error: 0.1}
		})
		var outcome [calls]byte
		var wg sync.WaitGroup
		for part := range 4 {
			wg.Go(func() {
				for i := part; i < calls; i += 4 {
					resp, err := f.call(request{id: fmt.Sprint("call-", i)})
					if err != nil {
						t.Error(err)
						return
					}
					outcome[i] = "2345"[resp.status/100-2]
				}
			})
		}
		wg.Wait()
		n := f.Ledger().Account("org").Failures
		if n[Overloaded] < 20 || n[Overloaded] > 60 || n[Error] < 20 || n[Error] > 60 {
			t.Errorf("failures %v, want about 40 each", n)
		}
		return string(outcome[:])
	}
	first := run(7)
	if run(7) != first {
		t.Error("the same seed gives other failures")
	}
	if run(8) == first {
		t.Error("another seed gives the same failures")
	}
}

// A revoked key is refused until it is restored.
func TestRevoke_RefusesTheKey(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.want(request{secret: "sk-nobody"}, 401, `"code":"invalid_api_key"`)
	f.want(request{}, 200)
	if err := f.Revoke("k1"); err != nil {
		t.Fatal(err)
	}
	f.want(request{}, 401, `"code":"invalid_api_key"`)
	f.want(request{secret: "sk-2"}, 200)
	if err := f.Restore("sk-1"); err != nil {
		t.Fatal(err)
	}
	f.want(request{}, 200)
	l := f.Ledger()
	k := l.Account("org").Keys[0]
	if l.UnknownKeys != 1 || k.AfterRevocation != 1 || k.LastAfter <= 0 || k.Admitted != 2 {
		t.Errorf("unknown %d, key %+v", l.UnknownKeys, k)
	}
	if err := f.Revoke("sk-typo"); err == nil || strings.Contains(err.Error(), "sk-typo") {
		t.Errorf("error = %v, want one that keeps the secret", err)
	}
}

// An account without credit is refused until it is topped up.
func TestOutOfCredit_RefusesTheAccount(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	if err := f.OutOfCredit("org"); err != nil {
		t.Fatal(err)
	}
	resp := f.want(request{}, 429, `"code":"insufficient_quota"`, `"type":"insufficient_quota"`)
	if resp.header.Get("Retry-After") != "" {
		t.Error("Retry-After for an account out of credit")
	}
	if err := f.TopUp("org"); err != nil {
		t.Fatal(err)
	}
	f.want(request{}, 200)
	if n := f.Ledger().Account("org").Throttled[NoCredit]; n != 1 {
		t.Errorf("%d refused for want of credit, want 1", n)
	}
}

// A streamed answer comes in events, the usage last.
func TestStream_EndsWithUsage(t *testing.T) {
	t.Parallel()
	for _, wantUsage := range []bool{true, false} {
		f := start(t, func(c *Config) { c.Latency.Min = 10 * time.Millisecond })
		body := fmt.Sprintf(`{"model":"m","stream":true,"stream_options":{"include_usage":%t},
			"messages":[{"role":"user","content":"The quick brown fox jumps"}]}`, wantUsage)
		resp, err := f.call(request{body: body})
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		var got *usage
		done := false
		for lines := bufio.NewScanner(strings.NewReader(resp.body)); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			if done = data == "[DONE]"; done {
				continue
			}
			var c completion
			if err := json.Unmarshal([]byte(data), &c); err != nil {
				t.Fatal(err)
			}
			if got != nil {
				t.Error("an event after the usage")
			}
			if got = c.Usage; got == nil {
				all.WriteString(c.Choices[0].Delta.Content)
			}
		}
		if all.String() != "Thé qúíçk brówñ fóx júmpš" || !done || (got != nil) != wantUsage {
			t.Errorf("answer %q, done %t, usage %v", all.String(), done, got)
		}
	}
}

// A call whose client leaves is counted as abandoned.
func TestChat_CountsAbandonedCalls(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) { c.Latency.Min = time.Hour })
	for range 2 { // plain, then streamed
		ctx, cancel := contextOf(t)
		f.cfg.OnAdmit = func(int64) { cancel() }
		if _, err := send(ctx, f.client, f.URL(), request{id: "x"}); err == nil {
			t.Error("no error for a call that was cancelled")
		}
	}
	if err := f.Close(); err != nil { // waits for the handlers
		t.Fatal(err)
	}
	if l := f.Ledger(); l.Abandoned != 2 || l.ServedTwice != 0 {
		t.Errorf("ledger %+v, want 2 abandoned", l)
	}
}

// Close ends calls that hang.
func TestClose_EndsHangingCalls(t *testing.T) {
	t.Parallel()
	f := start(t, failing(Hang, 1))
	admitted := make(chan struct{})
	f.cfg.OnAdmit = func(int64) { close(admitted) }
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := f.call(request{}); err == nil {
			t.Error("a call that hangs was answered")
		}
	})
	<-admitted
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}
