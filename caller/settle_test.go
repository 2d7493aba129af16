package caller_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	profiles "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/redistest"
)

const stream = `event: message_start
data: {"type":"message_start","message":{"content":[],"usage":{"input_tokens":25,"output_tokens":1}}}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"text":"Hello \"usage\":{\"output_tokens\":999}"}}

event: message_delta
data: {"type":"message_delta","usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

`

// responds returns a base transport that gives every request the same response.
func responds(kind, body string) tripper {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {kind}, "Anthropic-Ratelimit-Requests-Remaining": {"7"}}
		return &http.Response{StatusCode: 200, Header: h, Body: io.NopCloser(iotest.OneByteReader(strings.NewReader(body))), Request: r}, nil
	}
}

// The usage in a response is reported at the body's end, and the body is unchanged.
func TestUsage_IsReadFromTheResponse(t *testing.T) {
	t.Parallel()
	message := `{"content":[{"text":"` + strings.Repeat("long ", 100_000) + `"}],"usage":{"input_tokens":25,"output_tokens":15}}`
	all := caller.Cost{caller.InputTokens: 25, caller.OutputTokens: 15}
	for name, test := range map[string]struct {
		kind, body string
		read       int // bytes; -1 is all
		want       caller.Cost
		settled    caller.Cost
	}{
		"JSON":               {"application/json; charset=utf-8", message, -1, all, caller.Cost{caller.OutputTokens: -85}},
		"stream":             {"text/event-stream", stream, -1, all, caller.Cost{caller.OutputTokens: -85}},
		"JSON not to EOF":    {"application/json", message, len(message), all, caller.Cost{caller.OutputTokens: -85}},
		"stream cut short":   {"text/event-stream", stream, strings.Index(stream, "event: content"), caller.Cost{caller.InputTokens: 25, caller.OutputTokens: 1, caller.Tokens: 26}, caller.Cost{caller.OutputTokens: -99}},
		"JSON cut short":     {"application/json", message, 1000, caller.Cost{caller.OutputTokens: 245}, caller.Cost{caller.OutputTokens: 145}},
		"another type":       {"text/plain", message, -1, nil, nil},
		"nothing in it":      {"application/json", `{}`, -1, nil, nil},
		"above the estimate": {"application/json", `{"usage":{"output_tokens":150}}`, -1, caller.Cost{caller.OutputTokens: 150}, caller.Cost{caller.OutputTokens: 50}},
	} {
		_, rdb := redistest.Mini(t)
		var used []caller.Usage
		var seen []caller.QuotaReport
		c := join(t, rdb, quick, limits(caller.Limit{Metric: caller.OutputTokens, Rate: 1000, Period: time.Hour}), func(cfg *caller.Config) {
			cfg.Profile = profiles.Anthropic()
			cfg.Profile.Estimate = func(*http.Request, []byte) caller.Cost { return caller.Cost{caller.OutputTokens: 100} }
			cfg.Hooks.UsageRead = func(_ context.Context, u caller.Usage) { used = append(used, u) }
			cfg.Hooks.QuotaRead = func(_ context.Context, o caller.QuotaReport) { seen = append(seen, o) }
		})
		res, err := c.Transport(responds(test.kind, test.body), caller.TransportConfig{}).RoundTrip(request(t, t.Context(), http.MethodGet))
		if err != nil {
			t.Fatal(err)
		}
		var body []byte
		if test.read < 0 {
			body, err = io.ReadAll(res.Body)
		} else {
			body = make([]byte, test.read)
			_, err = io.ReadFull(res.Body, body)
		}
		if err != nil || string(body) != test.body[:len(body)] {
			t.Errorf("%s: got %d bytes, %v, want the body unchanged", name, len(body), err)
		}
		res.Body.Close()
		var got, settled caller.Cost
		if len(used) > 0 {
			got, settled = used[0].Actual, used[0].Settled
		}
		if !reflect.DeepEqual(got, test.want) || !reflect.DeepEqual(settled, test.settled) || len(used) > 1 {
			t.Errorf("%s: got %+v, want once %v, settled %v", name, used, test.want, test.settled)
		}
		if len(seen) != 1 || seen[0].Key != "k" || seen[0].Quotas[0].Remaining != 7 {
			t.Errorf("%s: got the quotas %+v, want 7 remaining of k", name, seen)
		}
		if n := c.Stats().CallsInFlight; n != 0 {
			t.Errorf("%s: got %d calls in flight, want 0", name, n)
		}
	}
}

// Units that a call didn't use are free for the next call if the metric is Settled, and only then.
func TestUsage_RefundsUnusedTokens(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for i, settled := range [][]caller.Metric{nil, {caller.Tokens}} {
			c := join(t, rdb, quick, func(cfg *caller.Config) {
				cfg.Name = fmt.Sprint("pool-", i)
				cfg.Limits = []caller.Limit{{Metric: caller.Tokens, Rate: 1000, Period: time.Hour, Algorithm: caller.Bucket, Burst: 1000}}
				cfg.Profile.Estimate = func(*http.Request, []byte) caller.Cost { return caller.Cost{caller.Tokens: 900} }
				cfg.Profile.Settled = settled
				cfg.Profile.Usage = func(data []byte) caller.Cost {
					var a struct{ Tokens int64 }
					_ = json.Unmarshal(data, &a)
					return caller.Cost{caller.Tokens: a.Tokens}
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for n := range 3 {
				res, err := c.Transport(responds("application/json", `{"tokens":50}`), caller.TransportConfig{}).RoundTrip(request(t, ctx, http.MethodGet))
				if settled == nil && n > 0 {
					if !errors.Is(err, caller.ErrDeadline) {
						t.Errorf("call %d: got %v, want ErrDeadline because nothing is refunded", n, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("settled %v, call %d: got %v, want success", settled, n, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}
	})
}

// Settle corrects the charge and calls the hook. Further calls do nothing.
func TestGrant_SettlesOnce(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	var used []caller.Usage
	c := join(t, rdb, limits(caller.Limit{Metric: caller.Tokens, Rate: 1000, Period: time.Hour}), func(cfg *caller.Config) {
		cfg.Hooks.UsageRead = func(_ context.Context, u caller.Usage) { used = append(used, u) }
	})
	ctx := caller.WithOptions(t.Context(), caller.Options{Model: "m"})
	_, err := caller.Do(ctx, c, caller.Cost{caller.Tokens: 10}, func(_ context.Context, g *caller.Grant) (int, error) {
		g.Settle(caller.Cost{caller.Tokens: 4, caller.MicroDollars: 5})
		g.Settle(caller.Cost{caller.Tokens: 900})
		return 0, nil
	})
	want := []caller.Usage{{
		Key: "k", Account: "k", Model: "m", Estimated: caller.Cost{caller.Tokens: 10},
		Actual: caller.Cost{caller.Tokens: 4, caller.MicroDollars: 5}, Settled: caller.Cost{caller.Tokens: -6}, Ratio: 1,
	}}
	if err != nil || !reflect.DeepEqual(used, want) {
		t.Errorf("got %v, %+v, want %+v", err, used, want)
	}
}
