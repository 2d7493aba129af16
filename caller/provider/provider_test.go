package provider

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded is an answer in the shape that a provider documents, and what it means.
type recorded struct {
	name    string
	status  int
	headers string // "Name: value" lines
	body    string
	want    caller.Verdict
}

// noon is the Date of every recorded answer.
const noon = "Fri, 20 Nov 2026 12:00:00 GMT"

func (rec recorded) response(t testing.TB) *http.Response {
	t.Helper()
	h := http.Header{"Date": {noon}}
	for line := range strings.Lines(rec.headers) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("%s: header %q", rec.name, line)
		}
		h.Set(name, value)
	}
	return &http.Response{StatusCode: rec.status, Header: h}
}

func judge(t *testing.T, p caller.Profile, records []recorded) {
	t.Helper()
	for _, rec := range records {
		got := p.Judge(rec.response(t), []byte(rec.body))
		if got.Outcome == caller.ClientError {
			got.Scope = rec.want.Scope // which has no effect
		}
		if got != rec.want {
			t.Errorf("%s: %s\n got %+v (%v)\nwant %+v (%v)", p.Name, rec.name, got, got.Outcome, rec.want, rec.want.Outcome)
		}
	}
}

func verdict(o caller.Outcome, s caller.Scope, after time.Duration, reason string) caller.Verdict {
	return caller.Verdict{Outcome: o, Scope: s, RetryAfter: after, Reason: reason}
}

// ofModel narrows a verdict to the call's model.
func ofModel(v caller.Verdict) caller.Verdict {
	v.ModelOnly = true
	return v
}

// unavailable is the verdict on an account that doesn't have the model.
func unavailable(reason string) caller.Verdict {
	return caller.Verdict{Outcome: caller.ClientError, ModelOnly: true, Elsewhere: true, Reason: reason}
}

func estimate(t *testing.T, p caller.Profile, body string, want caller.Cost) {
	t.Helper()
	if got := p.Estimate(request(http.MethodPost, "/v1/x"), []byte(body)); !maps.Equal(got, want) {
		t.Errorf("%s: estimate of %.200s: got %v, want %v", p.Name, body, got, want)
	}
}

func usage(t *testing.T, p caller.Profile, data string, want caller.Cost) {
	t.Helper()
	if got := p.Usage([]byte(data)); !maps.Equal(got, want) || (got == nil) != (want == nil) {
		t.Errorf("%s: usage in %s: got %v, want %v", p.Name, data, got, want)
	}
}

func quotas(t *testing.T, p caller.Profile, rec recorded, want ...caller.Quota) {
	t.Helper()
	got := p.Quotas(rec.response(t))
	if len(got) != len(want) {
		t.Fatalf("%s: got quotas %+v, want %+v", p.Name, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: got quota %+v, want %+v", p.Name, got[i], want[i])
		}
	}
}

func request(method, path string) *http.Request {
	return &http.Request{Method: method, URL: &url.URL{Scheme: "https", Host: "api.example.com", Path: path}, Header: http.Header{}}
}

// all are the profiles that ByName knows.
func all(t testing.TB) []caller.Profile {
	t.Helper()
	_, err := ByName("opnai")
	if want := `provider "opnai" is unknown: use one of ` + strings.Join(Names(), ", "); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	all := make([]caller.Profile, 0, len(Names()))
	for _, name := range Names() {
		p, err := ByName(strings.ToUpper(name))
		if err != nil || p.Name != name {
			t.Fatalf("%s: got profile %q, error %v, want the profile of that name", name, p.Name, err)
		}
		all = append(all, p)
	}
	return all
}

// The secret stands in the provider's header alone, and replaces what a client library put there.
func TestAuthorize_ReplacesThePlaceholder(t *testing.T) {
	for _, p := range all(t) {
		r := request(http.MethodPost, "/v1/x")
		r.URL.RawQuery = "alt=sse&key=placeholder"
		for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
			r.Header.Set(name, "placeholder")
		}
		p.Authorize(r, "canary")
		found := 0
		for name, values := range r.Header {
			if strings.Contains(values[0], "canary") {
				found++
			} else if name == "Authorization" {
				t.Errorf("%s: got %q in %s, want no placeholder", p.Name, values, name)
			}
		}
		if found != 1 || strings.Contains(r.URL.String(), "canary") {
			t.Errorf("%s: got the secret in %d headers and URL %s, want it in one header", p.Name, found, r.URL)
		}
	}
}

// Reads, generations and requests with an idempotency key may be sent twice; POSTs that create something may not.
func TestIdempotent_LeavesNothingBehind(t *testing.T) {
	for _, p := range all(t) {
		if p.Idempotent == nil {
			continue // net/http's rule
		}
		if !p.Idempotent(request(http.MethodGet, "/v1/models")) {
			t.Errorf("%s: GET got not idempotent, want idempotent", p.Name)
		}
		for _, path := range []string{"/v1/files", "/v1/batches", "/v1/fine_tuning/jobs", "/"} {
			if p.Idempotent(request(http.MethodPost, path)) {
				t.Errorf("%s: POST %s got idempotent, want not", p.Name, path)
			}
		}
		keyed := request(http.MethodPost, "/v1/files")
		keyed.Header.Set("Idempotency-Key", "1")
		if !p.Idempotent(keyed) {
			t.Errorf("%s: got no effect of an idempotency key, want idempotent", p.Name)
		}
	}
}

// A status without a body that helps, from a proxy for instance, means the same in every profile.
func TestJudge_AgreesOnPlainStatuses(t *testing.T) {
	want := map[int]caller.Outcome{
		200: caller.Success, 204: caller.Success, 304: caller.Success, 400: caller.ClientError, 401: caller.KeyRejected,
		402: caller.OutOfCredit, 403: caller.ClientError, 404: caller.ClientError, 408: caller.Transient, 413: caller.ClientError,
		422: caller.ClientError, 429: caller.Throttled, 500: caller.Transient, 501: caller.ClientError, 502: caller.Transient,
		503: caller.Overloaded, 504: caller.Transient, 520: caller.Transient, 524: caller.Transient, 525: caller.Transient,
		526: caller.Transient, 527: caller.Transient, 529: caller.Overloaded, 530: caller.Transient,
	}
	for _, p := range all(t) {
		for status, outcome := range want {
			r := recorded{status: status, headers: "Retry-After: 7"}.response(t)
			if status == http.StatusForbidden {
				r.Header.Del("Retry-After") // which makes it a limit, with GitHub
			}
			v := p.Judge(r, []byte("<html>credit quota rate limit</html>"))
			if v.Outcome != outcome {
				t.Errorf("%s: status %d: got %v, want %v", p.Name, status, v.Outcome, outcome)
			}
			if waits := outcome == caller.Throttled || outcome == caller.Overloaded; waits && v.RetryAfter != 7*time.Second {
				t.Errorf("%s: status %d: got a wait of %v, want Retry-After's 7s", p.Name, status, v.RetryAfter)
			}
		}
	}
}

// No answer makes a profile panic, or return a figure that is negative or overflows.
func FuzzProfiles(f *testing.F) {
	f.Add(429, "1", "1s", "2", `{"error":{"code":"rate_limit_exceeded","message":"try again in 6ms"}}`)
	f.Add(403, "-1", "2026-11-20T12:00:00Z", "1795176010", `[{"error":{"code":429,"details":[{"retryDelay":"1e99s"}]}}]`)
	f.Add(400, "9999999999", "99999999h", `"burst";r=-5;t=1`, `{"usage":{"total_tokens":1e400,"prompt_tokens":-1}}`)
	f.Add(500, "", "", "", `{"error":{"code":"`+strings.Repeat("long", 99)+`"}}`)
	f.Add(200, "", "", "", `{"messages":[{"content":"\ud83d\u4f60\\"}],"max_tokens":1e300,"n":1e300}`)
	f.Add(200, "", "", "", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n")
	f.Add(200, "", "", "", `{"base_resp":{"status_code":1002},"errors":[{"type":"RATE_LIMITED"}],"choices":[{"error":{"code":502}}]}`)
	f.Add(429, "", "", "", `{"error":{"message":"try again in 1d 2 hours, and 3 ms. Limit 9999999999999999999, Requested 1"}}`)
	known := all(f)
	f.Fuzz(func(t *testing.T, status int, number, reset, field, body string) {
		h := http.Header{}
		for _, p := range []string{"X-Ratelimit-", "Ratelimit-", "Anthropic-Ratelimit-"} {
			for _, m := range []string{"", "-Requests", "-Tokens", "-Project-Tokens"} {
				h.Set(p+"Limit"+m, number)
				h.Set(p+"Remaining"+m, number)
				h.Set(p+"Reset"+m, reset)
			}
			for _, m := range []string{"Requests-", "Tokens-", "Input-Tokens-"} {
				h.Set(p+m+"Remaining", number)
				h.Set(p+m+"Reset", reset)
			}
		}
		h["Ratelimit"], h["Ratelimit-Policy"], h["Retry-After"] = []string{field}, []string{field}, []string{reset}
		for _, p := range known {
			checkAnswer(t, p, &http.Response{StatusCode: status, Header: h}, []byte(body))
			if p.Model != nil {
				p.Model(request(http.MethodPost, "/"+reset), []byte(body))
			}
			for metric, n := range p.Estimate(request(http.MethodPost, "/"), []byte(body)) {
				if n < 0 || n > most {
					t.Errorf("%s: got estimate %d of %s, want 0 to 2^53", p.Name, n, metric)
				}
			}
		}
	})
}

func checkAnswer(t *testing.T, p caller.Profile, r *http.Response, body []byte) {
	t.Helper()
	if r.StatusCode < 400 {
		r.Request = request(http.MethodPost, "/v1/x")
	}
	if v := p.Judge(r, body); v.RetryAfter < 0 || v.RetryAfter > retry.MaxRetryAfter || len(v.Reason) > 64 {
		t.Errorf("%s: %+v", p.Name, v)
	}
	if p.Usage != nil {
		for metric, n := range p.Usage(body) {
			if n < 0 || n > most {
				t.Errorf("%s: got usage %d of %s, want 0 to 2^53", p.Name, n, metric)
			}
		}
	}
	if p.Quotas != nil {
		for _, q := range p.Quotas(r) {
			if q.Remaining < 0 || q.Limit < 0 || q.Reset < 0 || q.Period < 0 || q.Remaining > most {
				t.Errorf("%s: %+v", p.Name, q)
			}
		}
	}
}
