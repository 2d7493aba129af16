package provider

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// Each profile reads the headers in which its provider reports limits.
func TestQuotas_AreReadFromEachProvidersHeaders(t *testing.T) {
	t.Parallel()
	requests := func(period time.Duration, limit, remaining int64, reset time.Duration) caller.Quota {
		return caller.Quota{Metric: caller.Requests, Limit: limit, Period: period, Remaining: remaining, Reset: reset}
	}
	tokens := func(period time.Duration, limit, remaining int64, reset time.Duration) caller.Quota {
		return caller.Quota{Metric: caller.Tokens, Limit: limit, Period: period, Remaining: remaining, Reset: reset}
	}
	quotas(t, Groq(), recorded{status: 200, headers: "x-ratelimit-limit-requests: 14400\nx-ratelimit-remaining-requests: 14370\nx-ratelimit-reset-requests: 2m59.56s\nx-ratelimit-limit-tokens: 18000\nx-ratelimit-remaining-tokens: 17997\nx-ratelimit-reset-tokens: 7.66s"},
		requests(day, 14400, 14370, 179560*time.Millisecond), tokens(time.Minute, 18000, 17997, 7660*time.Millisecond))
	quotas(t, Cerebras(), recorded{status: 200, headers: "x-ratelimit-limit-requests-day: 1000\nx-ratelimit-remaining-requests-day: 999\nx-ratelimit-reset-requests-day: 33011.5\nx-ratelimit-limit-tokens-minute: 60000\nx-ratelimit-remaining-tokens-minute: 59000\nx-ratelimit-reset-tokens-minute: 11.38"},
		requests(day, 1000, 999, 33011500*time.Millisecond), tokens(time.Minute, 60000, 59000, 11380*time.Millisecond))
	quotas(t, Mistral(), recorded{status: 200, headers: "x-ratelimit-limit-req-minute: 720\nx-ratelimit-remaining-req-minute: 717\nx-ratelimit-limit-tokens-minute: 5000000\nx-ratelimit-remaining-tokens-minute: 4999911"},
		requests(time.Minute, 720, 717, 0), tokens(time.Minute, 5000000, 4999911, 0))
	quotas(t, Mistral(), recorded{status: 200, headers: "x-ratelimitbysize-limit-minute: 500000\nx-ratelimitbysize-remaining-minute: 499000\nratelimitbysize-reset: 37"},
		tokens(time.Minute, 500000, 499000, 37*time.Second))
	quotas(t, Together(), recorded{status: 200, headers: "x-ratelimit-limit: 10\nx-ratelimit-remaining: 9\nx-ratelimit-reset: 1\nx-tokenlimit-limit: 3000\nx-tokenlimit-remaining: 2900"},
		requests(0, 10, 9, time.Second), tokens(0, 3000, 2900, time.Second))
	quotas(t, OpenRouter(), recorded{status: 429, headers: "X-RateLimit-Limit: 20\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1795176030000"},
		requests(0, 20, 0, 30*time.Second))
	quotas(t, XAI(), recorded{status: 200, headers: "x-ratelimit-limit-requests: 480\nx-ratelimit-remaining-requests: 479"}, requests(0, 480, 479, 0))
	// An exhausted limit's reset is the wait, where nothing else says one.
	judge(t, Cerebras(), []recorded{{"reset", 429, "x-ratelimit-limit-tokens-minute: 60\nx-ratelimit-remaining-tokens-minute: 0\nx-ratelimit-reset-tokens-minute: 12", "", verdict(caller.Throttled, caller.ScopeAccount, 12*time.Second, "429")}})
}

// Providers that book prompt and output together are estimated so; embeddings and reranking count their texts.
func TestEstimate_CountsWhatTheModelReads(t *testing.T) {
	t.Parallel()
	four := strings.Repeat("four", 100)
	both := func(in, out int64) caller.Cost {
		c := caller.Cost{caller.Requests: 1, caller.Tokens: in + out, caller.InputTokens: in}
		if out > 0 {
			c[caller.OutputTokens] = out
		}
		return c
	}
	for _, p := range []caller.Profile{Groq(), Cerebras(), Mistral(), XAI(), Moonshot(), MiniMax(), OpenRouter(), Together(), Cohere()} {
		estimate(t, p, `{"model":"m","messages":[{"role":"user","content":"`+four+`"}],"max_tokens":50}`, both(100, 50))
	}
	for name, body := range map[string]string{
		"embedContent":       `{"model":"models/e","content":{"parts":[{"text":"` + four + `"}]}}`,
		"batchEmbedContents": `{"requests":[{"model":"models/e","content":{"parts":[{"text":"` + four + `"}]}}]}`,
		"predict":            `{"instances":[{"content":"` + four + `"}]}`,
	} {
		if got := Gemini().Estimate(nil, []byte(body))[caller.InputTokens]; got != 100 {
			t.Errorf("%s: got %d tokens, want 100", name, got)
		}
	}
	for name, body := range map[string]string{
		"rerank":            `{"model":"m","query":"` + four[:200] + `","documents":["` + four[:100] + `","` + four[:100] + `"]}`,
		"rerank of objects": `{"model":"m","query":"` + four[:200] + `","documents":[{"text":"` + four[:200] + `"}]}`,
		"native rerank":     `{"model":"m","input":{"query":"` + four[:200] + `","documents":["` + four[:200] + `"]}}`,
		"texts":             `{"model":"m","texts":["` + four + `"],"input_type":"search_document"}`,
		"native embeddings": `{"model":"m","input":{"texts":["` + four + `"]}}`,
		"chat v1":           `{"model":"m","message":"` + four[:200] + `","chat_history":[{"role":"USER","message":"` + four[:200] + `"}]}`,
		"response_format":   `{"response_format":{"json_schema":{"` + four[:200] + `":"` + four[:173] + `"}}}`,
		"text format":       `{"text":{"format":{"schema":{"` + four[:200] + `":{"ty":"` + four[:186] + `"}}}}}`,
		"responseSchema":    `{"generationConfig":{"responseSchema":{"` + four[:200] + `":"` + four[:200] + `"},"maxOutputTokens":0}}`,
	} {
		if got := Qwen().Estimate(nil, []byte(body))[caller.InputTokens]; got < 96 || got > 101 {
			t.Errorf("%s: got %d tokens, want about 100", name, got)
		}
	}
	// The names in a tool's parameters are read, too.
	tool := `{"messages":[],"tools":[{"type":"function","function":{"name":"` + four[:40] + `","parameters":{"properties":{"` + four + `":{}}}}}]}`
	if got := OpenAI().Estimate(nil, []byte(tool))[caller.InputTokens]; got < 110 || got > 125 {
		t.Errorf("tools: got %d tokens, want 110 and a few for the form", got)
	}
}

// Usage is read in each place where a provider has it.
func TestUsage_IsFoundWhereverItStands(t *testing.T) {
	t.Parallel()
	want := caller.Cost{caller.InputTokens: 8, caller.OutputTokens: 2, caller.Tokens: 10}
	usage(t, Moonshot(), `{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10}}]}`, want)
	usage(t, OpenAI(), `{"choices":[{"usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10}}],"usage":null}`, want)
	usage(t, Groq(), `{"choices":[],"x_groq":{"id":"r","usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10}}}`, want)
	usage(t, Cohere(), `{"message":{},"usage":{"billed_units":{"input_tokens":7,"output_tokens":1},"tokens":{"input_tokens":8,"output_tokens":2}}}`, want)
	usage(t, Cohere(), `{"type":"message-end","delta":{"usage":{"tokens":{"input_tokens":8,"output_tokens":2}}}}`, want)
	usage(t, Cohere(), `{"meta":{"billed_units":{"input_tokens":8,"output_tokens":2}}}`, want)
	usage(t, Vertex(), `{"usageMetadata":{"promptTokenCount":8,"candidatesTokenCount":2}}`, caller.Cost{caller.InputTokens: 8, caller.Tokens: 8, caller.OutputTokens: 2})
	usage(t, Vertex(), `{"type":"message","usage":{"input_tokens":8,"output_tokens":2}}`, caller.Cost{caller.InputTokens: 8, caller.OutputTokens: 2})
	usage(t, Groq(), `{"choices":[{"delta":{"content":"usage"}}]}`, nil)
}

// A response that adds a turn to a conversation, or starts a job, isn't sent twice.
func TestIdempotent_KeepsConversationsApart(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"input":"a","conversation":"conv_1"}`: false, `{"input":"a","conversation":{"id":"conv_1"}}`: false,
		`{"input":"a","background":true}`: false, `{"input":"a","background":false}`: true, `{"input":"\"conversation\":1"}`: true,
		`{"input":"a","conversation":null}`: true, `{"input":"a","previous_response_id":"r"}`: true, ``: true,
	} {
		r := request(http.MethodPost, "/v1/responses")
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(body))), nil }
		if got := OpenAI().Idempotent(r); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
		r.Header.Set("Idempotency-Key", "1")
		if !OpenAI().Idempotent(r) {
			t.Errorf("%s: got false with an idempotency key, want true", body)
		}
	}
	if !OpenAI().Idempotent(request(http.MethodPost, "/v1/responses")) {
		t.Error("without a body: got false, want true")
	}
}

// Each provider's paths that compute an answer may be sent twice.
func TestIdempotent_KnowsEachProvidersPaths(t *testing.T) {
	t.Parallel()
	for path, p := range map[string]caller.Profile{
		"/openai/v1/chat/completions": Groq(), "/v1/fim/completions": Mistral(), "/v2/chat": Cohere(), "/v2/rerank": Cohere(),
		"/v1/text/chatcompletion_v2": MiniMax(), "/anthropic/v1/messages": MiniMax(), "/api/v1/chat/completions": OpenRouter(),
		"/v1/projects/p/locations/l/publishers/google/models/gemini:streamGenerateContent": Vertex(),
		"/v1/projects/p/locations/l/publishers/anthropic/models/claude:streamRawPredict":   Vertex(),
	} {
		if !p.Idempotent(request(http.MethodPost, path)) {
			t.Errorf("%s %s: got not idempotent, want idempotent", p.Name, path)
		}
	}
}

// GitHub's resources have limits apart: one doesn't delay or block another.
func TestGitHub_KeepsResourcesApart(t *testing.T) {
	t.Parallel()
	p := GitHub()
	for path, name := range map[string]string{
		"/search/issues": "search", "/search/code": "code_search", "/graphql": "graphql", "/api/graphql": "graphql",
		"/api/v3/search/users": "search", "/repos/search/code": "", "/user": "", "/searches": "",
	} {
		r := request(http.MethodGet, path)
		if got := p.Model(r, nil); got != name {
			t.Errorf("%s: got model %q, want %q", path, got, name)
		}
		core, own := int64(0), caller.Metric("requests."+name)
		if name == "" {
			core, own = 1, caller.Requests
		}
		cost := p.Estimate(r, nil)
		if got, ok := cost[caller.Requests]; got != core || !ok || cost[own] != 1 {
			t.Errorf("%s: got cost %v, want %d requests and 1 of %s", path, cost, core, own)
		}
	}
	const spent = "x-ratelimit-limit: 30\nx-ratelimit-remaining: 0\nx-ratelimit-reset: 1795176020\nx-ratelimit-resource: "
	limited := verdict(caller.Throttled, caller.ScopeAccount, 20*time.Second, "403")
	judge(t, p, []recorded{
		{"search", 403, spent + "search", `{"message":"API rate limit exceeded for user ID 1."}`, ofModel(limited)},
		{"core", 403, spent + "core", `{"message":"API rate limit exceeded for user ID 1."}`, limited},
	})
}

// Vertex takes an access token, in the header that Google's libraries use.
func TestVertex_SendsTheTokenAsBearer(t *testing.T) {
	t.Parallel()
	r := request(http.MethodPost, "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:generateContent")
	Vertex().Authorize(r, "token")
	if got := r.Header.Get("Authorization"); got != "Bearer token" {
		t.Errorf("got %q, want Bearer token", got)
	}
	if got := Vertex().Model(r, nil); got != "gemini-2.5-pro" {
		t.Errorf("got model %q, want gemini-2.5-pro", got)
	}
}
