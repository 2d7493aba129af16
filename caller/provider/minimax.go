package provider

import (
	"net/http"
	"regexp"

	"github.com/penstock/penstock/caller"
)

// MiniMax is the profile of api.minimax.io and api.minimaxi.com, in MiniMax's own form, OpenAI's and Anthropic's. Its own
// form has errors in answers of status 200, in base_resp.
func MiniMax() caller.Profile {
	p := OpenAI()
	p.Name = "minimax"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = miniMaxDialect.judge
	p.Quotas = nil
	p.Idempotent = idempotentOpenAI(append([]string{"/messages", "/chatcompletion_v2", "/t2a_v2", "/image_generation"}, openAIEndings...)...)
	return p
}

// miniMaxCodes are the codes in base_resp, and in brackets at the end of messages.
var miniMaxCodes = map[string]meaning{
	"1002": throttled, "1039": throttled, // requests; tokens
	"1041": throttled, // calls in flight
	"2056": throttled, // the usage of a plan
	"2045": slowDown,  // the load grows too fast

	"1000": transient, "1001": transient, "1013": transient, "1024": transient, "1033": transient,

	"1008": outOfCredit,
	"1004": revoked, "2049": revoked,
	"1026": fault, "1027": fault, "1042": fault, "2013": fault, // content, and parameters
	"2061": modelUnavailable,
}

var bracketed = regexp.MustCompile(`\((\d{4})\)\s*$`)

var miniMaxDialect = &dialect{
	codes: miniMaxCodes,
	refine: func(f *failure) {
		if m := bracketed.FindStringSubmatch(f.message); m != nil {
			f.code = m[1]
		}
	},
}

// baseResponse judges MiniMax's member base_resp, which every answer has; a code of 0 is a success.
func (d *dialect) baseResponse(r *http.Response, value []byte) (caller.Verdict, bool) {
	if !complete(value) {
		return pending, false
	}
	code := text(at(value, "status_code"))
	if code == "" || code == "0" {
		return caller.Verdict{}, false
	}
	status := http.StatusInternalServerError
	known := &dialect{codes: miniMaxCodes}
	return known.as(r, status, failure{code: code, message: text(at(value, "status_msg"))}), true
}
