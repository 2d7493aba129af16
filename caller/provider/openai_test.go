package provider

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/apisim"
)

// OpenAI's codes, waits and headers.
func TestOpenAI_JudgesRecordedAnswers(t *testing.T) {
	const reached = `{"error":{"message":"Rate limit reached for gpt-4o in organization org-a on tokens per min (TPM): ` +
		`Limit 30000, Used 29000, Requested 1500. Please try again in 1.2s. Visit https://example.com to learn more.",` +
		`"type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
	billing := func(code string) string {
		return `{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"` + code + `"}}`
	}
	limited := ofModel(verdict(caller.Throttled, caller.ScopeAccount, 1200*time.Millisecond, "rate_limit_exceeded"))
	plain := verdict(caller.Throttled, caller.ScopeAccount, 0, "rate_limit_exceeded")
	after := func(v caller.Verdict, d time.Duration) caller.Verdict { v.RetryAfter = d; return v }
	records := []recorded{
		{"success", 200, "", "", caller.Verdict{}},
		{"limit, with ms", 429, "Retry-After: 2\nRetry-After-Ms: 1234.5", reached, after(limited, 1234500*time.Microsecond)},
		{"limit, with seconds", 429, "Retry-After: 20", reached, after(limited, 20*time.Second)},
		{"limit, wait in the text", 429, "", reached, limited},
		{
			"limit, wait in the reset", 429,
			"x-ratelimit-limit-requests: 60\nx-ratelimit-remaining-requests: 0\nx-ratelimit-reset-requests: 1m0s",
			`{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}`, after(plain, time.Second),
		},
		{
			"never fits", 429, "Retry-After: 2",
			`{"error":{"message":"Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 37313.",` +
				`"type":"tokens","code":"rate_limit_exceeded"}}`, verdict(caller.ClientError, 0, 0, "rate_limit_exceeded"),
		},
		{
			"a large word", 429, "Retry-After: 2", `{"error":{"message":"Limit reached: Request too large?","code":"rate_limit_exceeded"}}`,
			after(plain, 2*time.Second),
		},
		{
			"spending limit of another type", 429, "", `{"error":{"message":"x","type":"requests","code":"team_spend_limit_exceeded"}}`,
			verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "team_spend_limit_exceeded"),
		},
		{
			"slow down", 503, "Retry-After: 5", `{"error":{"message":"Slow Down","type":"service_unavailable_error","code":"slow_down"}}`,
			verdict(caller.Overloaded, caller.ScopeAccount, 5*time.Second, "slow_down"),
		},
		{
			"slow down as 429", 429, "", `{"error":{"message":"Slow down","type":"rate_limit_error","code":"slow_down"}}`,
			verdict(caller.Overloaded, caller.ScopeAccount, 0, "slow_down"),
		},
		{"plain 503", 503, "", "Slow Down", verdict(caller.Overloaded, caller.ScopeProvider, 0, "503")},
		{"server error", 500, "", `{"error":{"message":"x","type":"server_error","code":null}}`, verdict(caller.Transient, caller.ScopeProvider, 0, "server_error")},
		{"server error, don't retry", 500, "x-should-retry: false", "", verdict(caller.ClientError, caller.ScopeProvider, 0, "500")},
		{"fault, do retry", 400, "x-should-retry: true", "", verdict(caller.Transient, caller.ScopeProvider, 0, "400")},
		{"conflict", 409, "", "", verdict(caller.Transient, caller.ScopeProvider, 0, "409")},
		{
			"bad key", 401, "", `{"error":{"message":"Incorrect API key provided: sk-ab***yz.","type":"invalid_request_error","code":"invalid_api_key"}}`,
			verdict(caller.KeyRejected, caller.ScopeKey, 0, "invalid_api_key"),
		},
		{"account closed", 401, "", `{"error":{"message":"x","code":"account_deactivated"}}`, verdict(caller.KeyRejected, caller.ScopeAccount, 0, "account_deactivated")},
		{
			"forbidden model", 403, "", `{"error":{"message":"Project x does not have access to model y","type":"invalid_request_error","code":"model_not_found"}}`,
			unavailable("model_not_found"),
		},
		{
			"the caller's prompt quoted", 400, "", `{"error":{"message":"Invalid value: 'insufficient_quota: out of credit'","type":"invalid_request_error","code":null}}`,
			verdict(caller.ClientError, 0, 0, "invalid_request_error"),
		},
	}
	judge(t, OpenAI(), records)
	for _, code := range []string{
		"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded",
		"organization_usage_limit_exceeded", "team_spend_limit_exceeded", "a_code_of_tomorrow",
	} {
		broke := verdict(caller.OutOfCredit, caller.ScopeAccount, 0, code)
		judge(t, OpenAI(), []recorded{{code, http.StatusTooManyRequests, "", billing(code), broke}})
	}
}

// A call is charged with the larger of max_tokens and a quarter of its characters.
func TestOpenAI_EstimatesByItsRule(t *testing.T) {
	prompt := strings.Repeat("four", 100)
	chat := `"messages":[{"role":"system","content":"` + prompt + `"},{"role":"user","content":[{"type":"text","text":"` + prompt + `"}]}]`
	cost := func(tokens, in, out int64) caller.Cost {
		c := caller.Cost{caller.Requests: 1, caller.Tokens: tokens, caller.InputTokens: in}
		if out > 0 {
			c[caller.OutputTokens] = out
		}
		return c
	}
	p := OpenAI()
	estimate(t, p, "", caller.Cost{caller.Requests: 1})
	estimate(t, p, `{`+chat+`}`, cost(200, 200, 0))
	estimate(t, p, `{`+chat+`,"max_tokens":150}`, cost(200, 200, 150))
	estimate(t, p, `{"max_tokens":500,`+chat+`}`, cost(500, 200, 500))
	estimate(t, p, `{`+chat+`,"max_completion_tokens":300,"n":3}`, cost(900, 200, 900))
	estimate(t, p, `{"input":"`+prompt+`","instructions":"`+prompt+`","max_output_tokens":1000}`, cost(1000, 200, 1000))
	estimate(t, p, `{"prompt":"`+prompt+`","max_tokens":10,"best_of":5,"n":2}`, cost(100, 100, 50))
	estimate(t, p, `{"input":["`+prompt+`","`+prompt+`"]}`, cost(200, 200, 0))
	estimate(t, p, `{"input":[[1,2,3],[4,5]]}`, cost(5, 5, 0))
	estimate(t, p, `{"prompt":"12345"}`, cost(2, 2, 0))
	estimate(t, p, `{"prompt":"请翻译这句话"}`, cost(2, 6, 0)) // OpenAI's rule counts characters, of whatever kind
	estimate(t, p, `{"prompt":"\u8bf7\u7ffb\ud83d\ude00!"}`, cost(1, 3, 0))
	estimate(t, p, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+
		strings.Repeat("A", 100_000)+`"}}]}]}`, cost(1000, 1000, 0))
	estimate(t, p, `{"messages":[{"role":"user","content":[{"image":"data:image/png;base64,AAAA"},{"text":"1234"}]}]}`, cost(1001, 1001, 0))
	estimate(t, p, `{"prompt":"x","max_tokens":-5,"n":-1}`, cost(1, 1, 0))
	estimate(t, p, `{"prompt":"x","max_tokens":1e300,"n":1e300}`, cost(most, 1, most))
	estimate(t, p, `{"prompt":"x","max_tokens":null,"n":"2"}`, cost(1, 1, 0))
	estimate(t, p, `--boundary: no JSON at all`, cost(0, 0, 0))
}

// Usage stands in completions, responses and the last event of a stream.
func TestOpenAI_ReadsUsage(t *testing.T) {
	p := OpenAI()
	want := caller.Cost{caller.Tokens: 30, caller.InputTokens: 10, caller.OutputTokens: 20}
	usage(t, p, `{"id":"x","choices":[{"message":{"content":"\"usage\":{}"}}],"usage":{"prompt_tokens":10,"completion_tokens":20,`+
		`"total_tokens":30,"prompt_tokens_details":{"cached_tokens":4}}}`, want)
	usage(t, p, `{"object":"response","usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30}}`, want)
	usage(t, p, `{"type":"response.completed","response":{"usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30}}}`, want)
	for _, nothing := range []string{`{"choices":[{"delta":{"content":"x"}}],"usage":null}`, `[DONE]`, ``, `{"usage":{"total_tokens":"x"}}`} {
		usage(t, p, nothing, nil)
	}
}

// Headers of requests, tokens and the project's tokens.
func TestOpenAI_ReadsQuotas(t *testing.T) {
	quotas(t, OpenAI(), recorded{status: 200, headers: `x-ratelimit-limit-requests: 60
		x-ratelimit-remaining-requests: 59
		x-ratelimit-reset-requests: 1s
		x-ratelimit-limit-tokens: 150000
		x-ratelimit-remaining-tokens: 149984
		x-ratelimit-reset-tokens: 6m0s
		x-ratelimit-remaining-project-tokens: 7
		x-ratelimit-reset-project-tokens: 12ms`},
		caller.Quota{Metric: caller.Requests, Limit: 60, Remaining: 59, Reset: time.Second},
		caller.Quota{Metric: caller.Tokens, Limit: 150000, Remaining: 149984, Reset: 6 * time.Minute},
		caller.Quota{Metric: caller.Tokens, Remaining: 7, Reset: 12 * time.Millisecond})
	quotas(t, OpenAI(), recorded{status: 200, headers: "x-ratelimit-remaining-requests: -1\nx-ratelimit-remaining-tokens: many"})
}

// Generations may be sent twice, files and batches may not.
func TestOpenAI_RepeatsGenerations(t *testing.T) {
	for path, want := range map[string]bool{
		"/v1/chat/completions": true, "/v1/responses": true, "/proxy/openai/v1/embeddings/": true,
		"/openai/deployments/x/chat/completions": true, "/v1/files": false, "/v1/batches": false, "/v1/responses/resp_1/cancel": false,
	} {
		if got := OpenAI().Idempotent(request(http.MethodPost, path)); got != want {
			t.Errorf("POST %s: got %v, want %v", path, got, want)
		}
	}
}

// The peer builds the body up in memory.
func BenchmarkEstimate(b *testing.B) {
	turn := `{"role":"user","content":"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 100) + `"}`
	body := []byte(`{"model":"gpt-4o","max_tokens":100,"messages":[` + strings.Repeat(turn+",", 249) + turn + `]}`)
	b.Run("impl=ours", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			estimateOpenAI(nil, body)
		}
	})
	b.Run("impl=encoding_json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var request struct {
				Messages []struct {
					Content string `json:"content"`
				} `json:"messages"`
				MaxTokens int64 `json:"max_tokens"`
			}
			if err := json.Unmarshal(body, &request); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// The simulator implements the rule by another method.
func TestOpenAI_EstimatesAsTheSimulatorCounts(t *testing.T) {
	for _, body := range []string{
		`{"model":"m","messages":[{"role":"system","content":"Translate."},{"role":"user","content":"Hello, \"world\"\n\u00e9"}]}`,
		`{"model":"m","max_tokens":3,"messages":[{"role":"user","name":"Anna","content":"请翻译这句话，谢谢 😀"}]}`,
		`{"messages":[{"role":"user","content":"x"}],"max_completion_tokens":77,"model":"m"}`,
	} {
		want, err := apisim.TokenCost([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := estimateOpenAI(nil, []byte(body))[caller.Tokens]; got != want {
			t.Errorf("%s: got %d tokens, want the simulator's %d", body, got, want)
		}
	}
}
