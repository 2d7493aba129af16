package provider

import (
	"net/http"
	"regexp"
	"time"

	"github.com/penstock/penstock/caller"
)

// Zhipu is the profile of open.bigmodel.cn and api.z.ai. It limits the calls in flight of an account and model: configure
// the pool's Concurrency. A call counts until its answer is complete.
func Zhipu() caller.Profile {
	return caller.Profile{
		Name:       "zhipu",
		Authorize:  bearer,
		Estimate:   estimateSum,
		Model:      modelInBody,
		Judge:      judgeZhipu,
		Idempotent: repeatable(append([]string{"/messages"}, openAIEndings...)...),
		Usage:      usageOpenAI,
		Settled:    []caller.Metric{caller.Tokens, caller.InputTokens, caller.OutputTokens},
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// zhipuCodes are the business codes that Zhipu documents. Nearly all of them come with status 429, whatever they mean.
var zhipuCodes = map[string]meaning{
	"1302": throttled, // too many calls in flight
	"1303": throttled, // too many calls
	"1304": throttled, // today's limit
	"1308": throttled, // a limit of so many hours; the message says when it ends
	"1310": throttled, // the week's or month's limit; likewise
	"1313": throttled, // slowed down for unfair use

	"1305": overloaded, // the platform's own limit
	"1312": overloaded, // the model's

	"500":  transient,
	"1120": transient, // the account can't be reached
	"1230": transient, // failed inside
	"1234": transient, // failed in the network

	"1113": outOfCredit,
	"1309": outOfCredit, // the subscription has run out

	"1000": revoked, "1001": revoked, "1002": revoked, "1003": revoked, "1004": revoked,
	"1110": closed, "1111": closed, "1112": closed, "1121": closed,

	"1220": fault, "1261": fault, "1300": fault, "1301": fault, "1311": fault,
}

// zhipuDay is when Zhipu's days begin, and what its times mean.
var zhipuDay = time.FixedZone("UTC+8", 8*60*60)

var zhipuTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

func judgeZhipu(r *http.Response, body []byte) caller.Verdict {
	f := readFailure(body)
	v := byCode(r, f, zhipuCodes)
	switch f.code {
	case "1304":
		v.RetryAfter = max(v.RetryAfter, untilMidnight(answered(r), zhipuDay))
	case "1308", "1310":
		if at, err := time.ParseInLocation(time.DateTime, zhipuTime.FindString(f.message), zhipuDay); err == nil {
			v.RetryAfter = max(v.RetryAfter, capped(at.Sub(answered(r))))
		}
	}
	return v
}
