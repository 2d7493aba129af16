package provider

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

// overruled applies the header X-Should-Retry, which OpenAI and Anthropic send for their own client libraries. It decides
// whether this call is tried again, not what becomes of the key.
func overruled(v caller.Verdict, r *http.Response) caller.Verdict {
	should, said := retry.ShouldRetry(r.Header)
	switch {
	case should && v.Outcome == caller.ClientError:
		v.Outcome, v.Scope = caller.Transient, caller.ScopeProvider
	case said && !should && v.Outcome == caller.Transient:
		v.Outcome = caller.ClientError
	}
	return v
}

// failure is what an error's body says. Fields that it doesn't have are empty.
type failure struct {
	code    string // the finest name or number
	kind    string // a coarser one
	message string
	details []byte // JSON
}

// readFailure reads the shapes that error bodies have: an object "error" in an object, or in the first of a list, or the
// members of that object by themselves.
func readFailure(body []byte) failure {
	for element := range elements(body) {
		body = element
		break
	}
	if inner := at(body, "error"); len(inner) > 0 {
		if inner[0] == '"' {
			return failure{message: text(inner)}
		}
		body = inner
	}
	var f failure
	for key, value := range members(body) {
		switch string(key) {
		case "code":
			f.code = text(value)
		case "type", "status":
			f.kind = text(value)
		case "message":
			f.message = text(value)
		case "details":
			f.details = value
		}
	}
	return f
}

// reason is the failure's name for people.
func (f failure) reason(fallback string) string {
	return short(cmp.Or(f.code, f.kind, fallback))
}

// short cuts what a strange server sends as a code to a size that suits a metric's label.
func short(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "")
	}
	return s
}

// meaning is an outcome and what it says something about.
type meaning struct {
	outcome caller.Outcome
	scope   caller.Scope
}

// Meanings that most providers know.
var (
	throttled   = meaning{caller.Throttled, caller.ScopeAccount}
	slowDown    = meaning{caller.Overloaded, caller.ScopeAccount}
	overloaded  = meaning{caller.Overloaded, caller.ScopeProvider}
	transient   = meaning{caller.Transient, caller.ScopeProvider}
	outOfCredit = meaning{caller.OutOfCredit, caller.ScopeAccount}
	closed      = meaning{caller.KeyRejected, caller.ScopeAccount}
	revoked     = meaning{caller.KeyRejected, caller.ScopeKey}
	fault       = meaning{caller.ClientError, caller.ScopeAccount}
)

// means puts a meaning into a verdict. Only what passes by waiting keeps its RetryAfter.
func means(v caller.Verdict, m meaning) caller.Verdict {
	v.Outcome, v.Scope = m.outcome, m.scope
	if m == fault {
		v.RetryAfter = 0
	}
	return v
}

// byCode judges an error by what its codes mean, the finer one first, and otherwise by its status.
func byCode(r *http.Response, f failure, codes map[string]meaning) caller.Verdict {
	v := caller.JudgeStatus(r, nil)
	if v.Outcome == caller.Success {
		return v
	}
	v.Reason = f.reason(v.Reason)
	for _, code := range []string{f.code, f.kind} {
		if m, ok := codes[code]; ok {
			return means(v, m)
		}
	}
	return v
}
