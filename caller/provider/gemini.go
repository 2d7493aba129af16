package provider

import (
	"cmp"
	"net/http"
	"regexp"
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
		Idempotent: idempotentOpenAI(append([]string{
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

var geminiDialect = &dialect{
	codes: map[string]meaning{ // Google's status names, and the reasons in an error's details
		"UNAVAILABLE":       overloaded,
		"INTERNAL":          transient,
		"DEADLINE_EXCEEDED": transient,

		"API_KEY_SERVICE_BLOCKED":       revoked,
		"API_KEY_HTTP_REFERRER_BLOCKED": revoked,
		"API_KEY_IP_ADDRESS_BLOCKED":    revoked,
		"CONSUMER_INVALID":              closed,
		"SERVICE_DISABLED":              closed,
	},
	phrases: []phrase{{begins: begins(`.{0,80} has not been used in project`), means: closed, statuses: []int{http.StatusForbidden}}},
	refine:  func(f *failure) { f.code = readDetails(f.details).reason }, // the code itself repeats the HTTP status
}

func judgeGemini(r *http.Response, body []byte) caller.Verdict {
	v := geminiDialect.judge(r, body)
	if v.Outcome != caller.Throttled && v.Outcome != caller.Overloaded && v.Outcome != caller.Transient {
		return v
	}
	f := readFailure(body)
	d := readDetails(f.details)
	v.RetryAfter = max(v.RetryAfter, d.retryDelay)
	if v.Outcome != caller.Throttled {
		return v
	}
	v.ModelOnly = v.ModelOnly || d.model
	if d.daily || perDay.MatchString(f.message) {
		v.RetryAfter = untilMidnight(answered(r), pacific()) // the retryDelay beside it is that of a minute
	}
	return v
}

// perDay finds a daily quota in a message that has no details.
var perDay = regexp.MustCompile(`(?i)\bquota exceeded for metric: \S*per_?day`)

// geminiDetails is the content of a Google error's details.
type geminiDetails struct {
	reason     string        // of google.rpc.ErrorInfo
	retryDelay time.Duration // of google.rpc.RetryInfo
	daily      bool          // google.rpc.QuotaFailure names a limit per day
	model      bool          // google.rpc.QuotaFailure names a limit of a model
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
					id := text(at(violation, "quotaId"))
					d.daily = d.daily || strings.Contains(id, "PerDay")
					d.model = d.model || strings.Contains(id, "PerModel") || at(violation, "quotaDimensions", "model") != nil
				}
			}
		}
	}
	return d
}

// pacific is the time zone of Google's days. On a machine without time zone data it is that of winter, whose midnight is
// never too early.
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
