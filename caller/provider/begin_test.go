package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// answer judges the beginning of a body of status 200, the answer to a POST.
func answer(t *testing.T, name, kind, body string) caller.Verdict {
	t.Helper()
	p, err := ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	r := recorded{status: http.StatusOK}.response(t)
	r.Header.Set("Content-Type", kind)
	r.Request = request(http.MethodPost, "/v1/chat/completions")
	return p.Judge(r, []byte(body))
}

const (
	asJSON   = "application/json"
	asStream = "text/event-stream; charset=utf-8"
)

// An answer of status 200 can be a failure; it is judged as if it had come with its own status.
func TestJudge_FindsFailuresInAnswers(t *testing.T) {
	t.Parallel()
	busy := verdict(caller.Overloaded, caller.ScopeProvider, 0, "overloaded_error")
	limited := func(wait time.Duration, reason string) caller.Verdict {
		return verdict(caller.Throttled, caller.ScopeAccount, wait, reason)
	}
	failed := func(reason string) caller.Verdict {
		return verdict(caller.Transient, caller.ScopeProvider, 0, reason)
	}
	for _, tc := range []struct {
		name, profile, kind, body string
		want                      caller.Verdict
	}{
		{"first event", "anthropic", asStream, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", busy},
		{"after message_start", "anthropic", asStream, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":5}}}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", busy},
		{"response.failed", "openai", asStream, "event: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Please try again in 3s.\"}}}\n\n", limited(3*time.Second, "rate_limit_exceeded")},
		{"response.failed, overloaded", "openai", asStream, "data: {\"type\":\"response.created\"}\r\n\r\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"x\"}}}\r\n\r\n", verdict(caller.Overloaded, caller.ScopeProvider, 0, "server_is_overloaded")},
		{"response.failed, server error", "openai", asStream, "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}\n\n", failed("server_error")},
		{"error event of responses", "openai", asStream, "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}\n\n", limited(0, "rate_limit_exceeded")},
		{"error in a chunk", "openai", asStream, "data: {\"error\":{\"message\":\"Rate limit\",\"code\":429}}\n\n", limited(0, "429")},
		{"after the role", "openai", asStream, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\ndata: {\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}\n\n", failed("server_error")},
		{"in a choice", "openrouter", asStream, ": OPENROUTER PROCESSING\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\",\"error\":{\"code\":502,\"message\":\"x\"}}]}\n\n", failed("502")},
		{"object", "openai", asJSON, `{"error":{"message":"limit","code":429},"user_id":"u"}`, limited(0, "429")},
		{"object, after blank lines", "deepseek", asJSON, "\n\n\n" + `{"error":{"message":"Insufficient Balance","type":"unknown_error"}}`, verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "unknown_error")},
		{"text", "openai", asJSON, `{"error":"upstream connect error"}`, failed("error")},
		{"without a type", "openai", "", `{"error":{"message":"x"}}`, failed("error")},
		{"the request's fault", "openai", asJSON, `{"error":{"type":"invalid_request_error","message":"x"}}`, verdict(caller.ClientError, caller.ScopeAccount, 0, "invalid_request_error")},
		{"key", "openai", asJSON, `{"error":{"code":401,"message":"No auth credentials found"}}`, verdict(caller.KeyRejected, caller.ScopeKey, 0, "401")},
		{"choice", "openrouter", asJSON, `{"id":"x","choices":[{"error":{"code":429,"message":"x"},"finish_reason":"error","message":{"content":""}}]}`, limited(0, "429")},
		{"failed response", "openai", asJSON, `{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"x"},"output":[]}`, failed("server_error")},
		{"base_resp", "minimax", asJSON, `{"id":"x","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit"}}`, limited(0, "1002")},
		{"base_resp, balance", "openai", asJSON, `{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`, verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "1008")},
		{"base_resp, key", "minimax", asJSON, `{"base_resp":{"status_code":1004,"status_msg":"login fail"}}`, verdict(caller.KeyRejected, caller.ScopeKey, 0, "1004")},
		{"base_resp, unknown", "minimax", asJSON, `{"base_resp":{"status_code":9999,"status_msg":"x"}}`, failed("9999")},
		{"gemini", "gemini", asJSON, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`, verdict(caller.Overloaded, caller.ScopeProvider, 0, "UNAVAILABLE")},
		{"gemini's list", "gemini", asJSON, `[{"error":{"code":429,"message":"Please retry in 5s.","status":"RESOURCE_EXHAUSTED"}}]`, limited(5*time.Second, "RESOURCE_EXHAUSTED")},
		{"gemini's stream", "gemini", asStream, "data: {\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\"}}\n\n", limited(0, "RESOURCE_EXHAUSTED")},
		{"GitHub", "github", asJSON, `{"errors":[{"type":"RATE_LIMITED","message":"limit"}]}`, limited(time.Minute, "RATE_LIMITED")},
		{"GitHub, with data", "github", asJSON, `{"data":null,"errors":[{"type":"RATE_LIMITED","message":"limit"}]}`, limited(time.Minute, "RATE_LIMITED")},
		{"Shopify", "generic", asJSON, `{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"requestedQueryCost":101,"throttleStatus":{"currentlyAvailable":1,"restoreRate":50}}}}`, limited(2*time.Second, "THROTTLED")},
		{"Shopify, short", "generic", asJSON, `{"errors":[{"message":"Throttled","extensions":{"code":"THROTTLED"}}],"extensions":{"cost":{"throttleStatus":{"currentlyAvailable":1}}}}`, limited(0, "THROTTLED")},
		{"Linear", "generic", asJSON, `{"errors":[{"message":"Rate limit exceeded","extensions":{"code":"RATELIMITED"}}]}`, limited(0, "RATELIMITED")},
		{"Slack", "generic", asJSON, `{"ok":false,"error":{"code":"rate_limited"}}`, limited(0, "rate_limited")},
		{"a gateway's page", "openai", "text/html; charset=UTF-8", "<html><body>502 Bad Gateway</body></html>", failed("html")},
	} {
		if got := answer(t, tc.profile, tc.kind, tc.body); got != tc.want {
			t.Errorf("%s, %s:\n got %+v (%v)\nwant %+v (%v)", tc.profile, tc.name, got, got.Outcome, tc.want, tc.want.Outcome)
		}
	}
}

// Answers pass as soon as there is output in them, and other APIs' answers at once.
func TestJudge_LetsOutputPass(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ profile, kind, body string }{
		"completion":            {"openai", asJSON, `{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"ind`},
		"response":              {"openai", asJSON, `{"id":"resp_1","error":null,"output":[{"type":"message"`},
		"message":               {"anthropic", asJSON, `{"id":"msg","type":"message","content":[{"type":"text"`},
		"embedding":             {"openai", asJSON, `{"object":"list","data":[{"embedding":[0.1`},
		"nothing to report":     {"openai", asJSON, `{"object":"list","data":[]}`},
		"gemini":                {"gemini", asJSON, `{"candidates":[{"content":{"parts":[{"text":"a"`},
		"gemini's list":         {"gemini", asJSON, `[{"candidates":[{"content":{}}]}`},
		"base_resp":             {"minimax", asJSON, `{"reply":"","base_resp":{"status_code":0,"status_msg":""}}`},
		"chunk":                 {"openai", asStream, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"},
		"tool call":             {"openai", asStream, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\"}]}}]}\n\n"},
		"response delta":        {"openai", asStream, "event: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n"},
		"message delta":         {"anthropic", asStream, "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n"},
		"error in mid-stream":   {"openai", asStream, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"code\":429}}\n\n"},
		"done":                  {"openai", asStream, "data: [DONE]\n\n"},
		"audio":                 {"openai", "audio/mpeg", "\xff\xfb"},
		"a query's own errors":  {"github", asJSON, `{"errors":[{"type":"NOT_FOUND","message":"x"}],"data":{"a":null}}`},
		"a member called error": {"generic", asJSON, `{"error":"","status":"ok"}`},
		"a job's error":         {"generic", asJSON, `{"id":1,"error":"the job failed"}`},
		"other JSON":            {"generic", asJSON, `{"id":`},
		"nothing":               {"generic", asJSON, ``},
		"a page":                {"generic", "text/html", "<html>"},
	} {
		if got := answer(t, tc.profile, tc.kind, tc.body); got != (caller.Verdict{}) {
			t.Errorf("%s: got %+v (%v), want success", name, got, got.Outcome)
		}
	}
}

// The beginning of an answer without output or failure is pending, at every length of it.
func TestJudge_WaitsForOutput(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ profile, kind, body string }{
		"blank lines":      {"deepseek", asJSON, "\n\n\n\n"},
		"no bytes":         {"openai", asJSON, ""},
		"head of a stream": {"openai", asStream, ": keep-alive\n\nevent: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.in_progress\n"},
		"role":             {"openai", asStream, "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"},
		"Azure's filter":   {"azure", asStream, "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n"},
		"message_start":    {"anthropic", asStream, "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\"}\n\n: ping\n\n"},
		"head of JSON":     {"openai", asJSON, `{"id":"x","object":"chat.completion","created":1,"error":null,"choices":[`},
		"head of an error": {"openai", asJSON, `{"error":{"message":"a }\" b","code":42`},
		"head of base":     {"minimax", asJSON, `{"id":"x","choices":null,"base_resp":{"status_code":100`},
		"head of GraphQL":  {"github", asJSON, `{"errors":[{"type":"RATE_LIM`},
		"head of a list":   {"gemini", asJSON, `[`},
	} {
		for n := range len(tc.body) + 1 {
			head := tc.body[:n]
			if tc.profile == "github" && !strings.Contains(head, `"errors":[`) {
				continue // not yet known to be GraphQL
			}
			if got := answer(t, tc.profile, tc.kind, head); got.Outcome != caller.Pending {
				t.Errorf("%s: %q: got %v, want pending", name, head, got.Outcome)
			}
		}
	}
}

// Only the answer to a POST must have a body.
func TestJudge_LetsEmptyAnswersPass(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodHead} {
		r := recorded{status: http.StatusOK, headers: "Content-Type: application/json"}.response(t)
		r.Request = request(method, "/v1/files/f")
		if got := OpenAI().Judge(r, []byte{}); got.Outcome != caller.Success {
			t.Errorf("%s: got %v, want success", method, got.Outcome)
		}
	}
	r := recorded{status: http.StatusOK}.response(t)
	r.Request = request(http.MethodPost, "/v1/chat/completions")
	if got := OpenAI().Judge(r, nil); got.Outcome != caller.Success {
		t.Errorf("without a body: got %v, want success by the status", got.Outcome)
	}
}
