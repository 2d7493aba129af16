package provider

import (
	"net/http"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// Google's status names, reasons and quota IDs.
func TestGemini_JudgesRecordedAnswers(t *testing.T) {
	exhausted := func(quota string) string {
		return `{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.",` +
			`"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[` +
			`{"quotaMetric":"generativelanguage.googleapis.com/generate_requests","quotaId":"` + quota + `"}]},` +
			`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"31.5s"}]}}`
	}
	reason := func(status, reason string) string {
		return `{"error":{"code":400,"message":"x","status":"` + status + `","details":[` +
			`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"` + reason + `","domain":"googleapis.com"}]}}`
	}
	limited := func(after time.Duration) caller.Verdict {
		return verdict(caller.Throttled, caller.ScopeAccount, after, "RESOURCE_EXHAUSTED")
	}
	judge(t, Gemini(), []recorded{
		{"per minute", 429, "", exhausted("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"), ofModel(limited(31500 * time.Millisecond))},
		// Noon is four in the morning in California, and midnight there 20 hours away.
		{"per day", 429, "", exhausted("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), ofModel(limited(20 * time.Hour))},
		{"in a list", 429, "", "[" + exhausted("GenerateRequestsPerMinutePerProjectPerModel") + "]", ofModel(limited(31500 * time.Millisecond))},
		{"no details", 429, "", `{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}`, limited(0)},
		{
			"overloaded", 503, "", `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`,
			verdict(caller.Overloaded, caller.ScopeProvider, 0, "UNAVAILABLE"),
		},
		{"bad key", 400, "", reason("INVALID_ARGUMENT", "API_KEY_INVALID"), verdict(caller.KeyRejected, caller.ScopeKey, 0, "API_KEY_INVALID")},
		{
			"leaked key", 403, "", `{"error":{"code":403,"message":"Your API key was reported as leaked.","status":"PERMISSION_DENIED"}}`,
			verdict(caller.KeyRejected, caller.ScopeKey, 0, "PERMISSION_DENIED"),
		},
		{"suspended", 403, "", reason("PERMISSION_DENIED", "CONSUMER_SUSPENDED"), verdict(caller.KeyRejected, caller.ScopeAccount, 0, "CONSUMER_SUSPENDED")},
		{"no billing", 403, "", reason("PERMISSION_DENIED", "BILLING_DISABLED"), verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "BILLING_DISABLED")},
		{"bad request", 400, "", `{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}`, verdict(caller.ClientError, 0, 0, "INVALID_ARGUMENT")},
	})
}

// Google's day ends at midnight in California, in summer and in winter.
func TestGemini_EndsItsDayInCalifornia(t *testing.T) {
	for now, want := range map[string]time.Duration{
		"2026-01-15T07:59:00Z": time.Minute, "2026-07-15T06:59:00Z": time.Minute, "2026-07-15T07:00:00Z": 24 * time.Hour,
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := untilMidnight(at, pacific()); got != want {
			t.Errorf("at %s: got %v, want %v", now, got, want)
		}
	}
}

// Gemini limits input alone.
func TestGemini_ChargesInput(t *testing.T) {
	p := Gemini()
	estimate(t, p, `{"systemInstruction":{"parts":[{"text":"1234"}]},"contents":[{"role":"user","parts":[{"text":"12345678"},`+
		`{"inlineData":{"mimeType":"","data":"AAAA"}}]}],"generationConfig":{"maxOutputTokens":100,"candidateCount":2}}`,
		caller.Cost{caller.Requests: 1, caller.Tokens: 1003, caller.InputTokens: 1003, caller.OutputTokens: 200})

	want := caller.Cost{caller.Tokens: 10, caller.InputTokens: 10, caller.OutputTokens: 25}
	const event = `{"candidates":[],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":20,"thoughtsTokenCount":5,"totalTokenCount":35}}`
	usage(t, p, event, want)
	usage(t, p, `[{"usageMetadata":{"promptTokenCount":10}},`+event+`]`, want)
	usage(t, p, `{"usage":{"prompt_tokens":10,"completion_tokens":25,"total_tokens":35}}`,
		caller.Cost{caller.Tokens: 35, caller.InputTokens: 10, caller.OutputTokens: 25})
	usage(t, p, `{"candidates":[]}`, nil)
}

// A key in the URL would stand in logs.
func TestGemini_RemovesTheKeyFromTheURL(t *testing.T) {
	r := request(http.MethodPost, "/v1beta/models/gemini:generateContent")
	r.URL.RawQuery = "alt=sse&key=placeholder"
	Gemini().Authorize(r, "canary")
	if r.URL.RawQuery != "alt=sse" || r.Header.Get("X-Goog-Api-Key") != "canary" {
		t.Errorf("got query %q, headers %v, want the key in X-Goog-Api-Key alone", r.URL.RawQuery, r.Header)
	}
	if !Gemini().Idempotent(r) {
		t.Error("got not idempotent, want idempotent")
	}
}
