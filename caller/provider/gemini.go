package provider

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/caller"
)

// Gemini is the profile of Google's generativelanguage API. An account is a project: keys of one project share its
// limits.
//
// Limits count requests and input tokens in a minute, and requests in a day that ends at midnight in California.
func Gemini() caller.Profile {
	return caller.Profile{
		Name:      "gemini",
		Authorize: authorizeGemini,
		Estimate:  estimateGemini,
		Model:     modelInPath("models"),
		Judge:     judgeGemini,
		Idempotent: repeatable(append([]string{
			":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents",
		}, openAIEndings...)...),
		Usage:      usageGemini,
		ErrorBody:  errorGemini,
		Settled:    []caller.Metric{caller.InputTokens, caller.Tokens},
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// authorizeGemini also removes a key from the URL, where client libraries may put one and logs would show it.
func authorizeGemini(r *http.Request, secret string) {
	inHeader("X-Goog-Api-Key")(r, secret)
	if query := r.URL.Query(); query.Has("key") {
		query.Del("key")
		r.URL.RawQuery = query.Encode()
	}
}

// estimateGemini charges input only: output isn't limited.
func estimateGemini(_ *http.Request, body []byte) caller.Cost {
	if len(body) == 0 {
		return caller.Cost{caller.Requests: 1}
	}
	s := measure(body)
	return cost(s.input(), s.input(), s.allOutput())
}

// geminiCodes are Google's status names, and the reasons in an error's details, which come first.
var geminiCodes = map[string]meaning{
	"RESOURCE_EXHAUSTED": throttled,
	"UNAVAILABLE":        overloaded,
	"INTERNAL":           transient,
	"DEADLINE_EXCEEDED":  transient,
	"UNAUTHENTICATED":    revoked,

	"API_KEY_INVALID":               revoked,
	"API_KEY_SERVICE_BLOCKED":       revoked,
	"API_KEY_HTTP_REFERRER_BLOCKED": revoked,
	"API_KEY_IP_ADDRESS_BLOCKED":    revoked,
	"ACCESS_TOKEN_EXPIRED":          revoked,
	"CONSUMER_SUSPENDED":            closed,
	"CONSUMER_INVALID":              closed,
	"SERVICE_DISABLED":              closed,
	"BILLING_DISABLED":              outOfCredit,
	"RATE_LIMIT_EXCEEDED":           throttled,
}

func judgeGemini(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	d := readDetails(f.details)
	f.code = d.reason // the code itself only repeats the HTTP status
	v := byCode(r, f, geminiCodes)
	switch {
	case strings.HasPrefix(f.message, "Your API key was reported as leaked"):
		return means(v, revoked)
	case v.Outcome == caller.Success || v.Outcome == caller.ClientError:
		return v
	}
	v.RetryAfter = max(v.RetryAfter, d.retryDelay)
	if d.daily && v.Outcome == caller.Throttled {
		v.RetryAfter = untilMidnight(answered(r), pacific()) // the retryDelay beside it is that of a minute
	}
	return v
}

// geminiDetails is what the details of a Google error say.
type geminiDetails struct {
	reason     string        // of google.rpc.ErrorInfo
	retryDelay time.Duration // of google.rpc.RetryInfo
	daily      bool          // google.rpc.QuotaFailure names a limit per day
}

func readDetails(details []byte) (d geminiDetails) {
	for detail := range elements(details) {
		for key, value := range members(detail) {
			switch string(key) {
			case "reason":
				d.reason = text(value)
			case "retryDelay":
				d.retryDelay = parseReset(text(value), time.Now())
			case "violations":
				for violation := range elements(value) {
					d.daily = d.daily || strings.Contains(text(at(violation, "quotaId")), "PerDay")
				}
			}
		}
	}
	return d
}

// pacific is the time zone of Google's days; on a machine without time zone data, that of its winter, which is never too
// early.
func pacific() *time.Location {
	if zone, err := time.LoadLocation("America/Los_Angeles"); err == nil {
		return zone
	}
	return time.FixedZone("PST", -8*60*60)
}

// untilMidnight is the time until the next day begins in a zone.
func untilMidnight(now time.Time, zone *time.Location) time.Duration {
	year, month, day := now.In(zone).Date()
	return capped(time.Date(year, month, day+1, 0, 0, 0, 0, zone).Sub(now))
}

// usageGemini reads the usage of an answer, of one event of a stream, or of a stream in the form of a list. Each event's
// figures are those so far.
func usageGemini(data []byte) caller.Cost {
	for element := range elements(data) {
		data = element // the last one counts
	}
	c := caller.Cost{}
	for key, value := range members(at(data, "usageMetadata")) {
		n, ok := count(value)
		if !ok {
			continue
		}
		switch string(key) {
		case "promptTokenCount":
			c[caller.InputTokens], c[caller.Tokens] = n, n
		case "candidatesTokenCount", "thoughtsTokenCount":
			c[caller.OutputTokens] = min(c[caller.OutputTokens]+n, most)
		}
	}
	if len(c) == 0 {
		return usageOpenAI(data) // the OpenAI-compatible endpoint
	}
	return c
}

// errorGemini is an error in Google's shape.
func errorGemini(status int, code, message string) []byte {
	name := map[int]string{
		http.StatusTooManyRequests: "RESOURCE_EXHAUSTED", http.StatusGatewayTimeout: "DEADLINE_EXCEEDED",
	}[status]
	return encode(map[string]any{"error": map[string]any{
		"code": status, "status": cmp.Or(name, "UNAVAILABLE"), "message": message,
		"details": []any{map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code}},
	}})
}
