package provider

import (
	"cmp"
	"net/http"
	"regexp"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

// dialect has the codes and messages of a provider's errors. The zero dialect has the common codes and phrases alone.
type dialect struct {
	codes   map[string]meaning // before the common ones
	phrases []phrase           // before the common ones
	// refine adjusts a failure before it is judged. Optional.
	refine func(f *failure)
	// wait returns the wait from an answer's headers, for a limit without Retry-After. Optional.
	wait func(r *http.Response) time.Duration
	zone *time.Location // of times in messages; nil: UTC
	// foreign is set where a JSON answer with a member "error" isn't always a failure: the API isn't a language model's.
	foreign bool
}

// judge judges an answer by its status and what is known of its body.
func (d *dialect) judge(r *http.Response, body []byte) caller.Verdict {
	v := byStatus(r)
	if v.Outcome == caller.Success {
		return d.begin(r, body)
	}
	return d.judgeFailure(r, v, readFailure(body))
}

// judgeFailure completes a verdict on a status by a failure's codes and message.
func (d *dialect) judgeFailure(r *http.Response, v caller.Verdict, f failure) caller.Verdict {
	if d.refine != nil {
		d.refine(&f)
	}
	v.Reason = f.reason(v.Reason)
	if oversize(r.StatusCode, f.message) && v.Outcome != caller.Success {
		if m, ok := find(phrases, r.StatusCode, f.message); !ok || m.outcome != caller.Overloaded {
			return fault.apply(v)
		}
	}
	m, known := d.meaning(r.StatusCode, f)
	if known {
		v = m.apply(v)
	}
	if v.Outcome == caller.Throttled && v.Scope == caller.ScopeAccount && modelPattern.MatchString(f.message) {
		v.ModelOnly = true
	}
	if v.Outcome == caller.Throttled || v.Outcome == caller.Overloaded {
		v.RetryAfter = d.completeWait(r, f, v.RetryAfter)
	}
	if m.final() {
		return v
	}
	return overruled(v, r)
}

// modelPattern finds a model's name in the message of a limit: "for gpt-4o in organization", "model: claude-x".
var modelPattern = regexp.MustCompile("(?i)\\bfor (?:the )?(?:model )?[`'\"]?[a-z0-9][\\w.:/-]*[`'\"]? " +
	`(?:in organi[sz]ation|on (?:requests|tokens|input|output)) ?|\bmodel[:=] ?\S`)

// meaning returns what a failure's codes and message mean: the finer code first, the provider's own before the common
// ones, and then the message, which can be more exact than a code.
func (d *dialect) meaning(status int, f failure) (meaning, bool) {
	m, known := d.codeMeaning(f)
	if status == http.StatusPaymentRequired && m.outcome != caller.ClientError {
		m, known = outOfCredit, true
	}
	if status == http.StatusUnauthorized && plain(f.kind) == "servererror" && !known {
		return transient, true // the provider failed while it looked at the key
	}
	if known && m.final() {
		return m, true
	}
	if said, ok := find(d.phrases, status, f.message); ok {
		return said, true
	}
	if said, ok := find(phrases, status, f.message); ok {
		return said, true
	}
	return m, known
}

func (d *dialect) codeMeaning(f failure) (meaning, bool) {
	for _, code := range []string{f.code, f.kind} {
		if m, ok := d.codes[code]; ok {
			return m, true
		}
	}
	for _, code := range []string{f.code, f.kind} {
		if m, ok := commonMeaning(code); ok {
			return m, true
		}
	}
	return meaning{}, false
}

// completeWait returns the wait of Retry-After and of the message, the longer of the two: Retry-After can be that of a
// shorter limit. Without both it is that of the metadata or of other headers.
func (d *dialect) completeWait(r *http.Response, f failure, wait time.Duration) time.Duration {
	zone := d.zone
	switch {
	case zone == nil && zhipuCode.MatchString(cmp.Or(f.code, f.kind)):
		zone = zhipuDay // Z.ai behind the interface of another provider
	case zone == nil:
		zone = time.UTC
	}
	if wait = max(wait, statedWait(f.message, answered(r), zone)); wait > 0 {
		return wait
	}
	if reset := text(at(f.metadata, "headers", "X-RateLimit-Reset")); reset != "" {
		return parseReset(reset, answered(r))
	}
	if d.wait != nil {
		return d.wait(r)
	}
	return 0
}

// byStatus judges by status and Retry-After. The statuses 520 to 530, except 529, are a CDN's: it got no answer from the
// origin.
func byStatus(r *http.Response) caller.Verdict {
	v := caller.JudgeStatus(r, nil)
	if r.StatusCode >= 520 && r.StatusCode <= 530 && r.StatusCode != 529 {
		v.Outcome, v.Scope = caller.Transient, caller.ScopeProvider
	}
	return v
}

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
