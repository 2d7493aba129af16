package provider

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/caller"
)

const day = 24 * time.Hour

// Groq is the profile of api.groq.com. An account is an organisation. Limits are those of a model: requests and tokens, a
// minute and a day. In the headers, requests are those of the day and tokens those of the minute.
func Groq() caller.Profile {
	p := OpenAI()
	p.Name = "groq"
	p.Estimate = estimateSum
	p.Calibrated = []caller.Metric{caller.InputTokens, caller.Tokens}
	p.Judge = judgeGroq
	p.Quotas = quotasGroq
	return p
}

var groqDialect = &dialect{wait: func(r *http.Response) time.Duration { return nextUnit(quotasGroq(r)) }}

func judgeGroq(r *http.Response, body []byte) caller.Verdict {
	v := groqDialect.judge(r, body)
	if r.StatusCode == statusFlex && v.Outcome == caller.ClientError {
		v = overloaded.apply(v)
	}
	return v
}

func quotasGroq(r *http.Response) []caller.Quota {
	return reported(r, []header{rateHeader(caller.Requests, "-Requests", day), rateHeader(caller.Tokens, "-Tokens", time.Minute)})
}
