package provider

import (
	"net/http"
	"regexp"
	"time"

	"github.com/penstock/penstock/caller"
)

// Zhipu is the profile of open.bigmodel.cn and api.z.ai. It limits the calls in flight of an account and model: configure
// Config.Concurrency. A call counts until its answer is complete.
func Zhipu() caller.Profile {
	return caller.Profile{
		Name:       "zhipu",
		Authorize:  bearer,
		Estimate:   estimateSum,
		Model:      modelInBody,
		Judge:      judgeZhipu,
		Idempotent: idempotentOpenAI(append([]string{"/messages"}, openAIEndings...)...),
		Usage:      usageOpenAI,
		Settled:    []caller.Metric{caller.Tokens, caller.InputTokens, caller.OutputTokens},
		Calibrated: []caller.Metric{caller.InputTokens, caller.Tokens},
	}
}

// zhipuCodes are the business codes that Zhipu documents. Nearly all of them come with status 429.
var zhipuCodes = map[string]meaning{
	"1302": throttledModel,                                  // too many calls in flight
	"1303": throttledModel,                                  // too many calls
	"1304": throttled,                                       // today's limit
	"1308": throttled,                                       // a limit of so many hours; the message has its end
	"1310": throttled,                                       // the week's or month's limit; likewise
	"1313": throttled,                                       // slowed down for unfair use
	"1316": throttled, "1317": throttled, "1318": throttled, // limits of a plan; the message has their end
	"1319": throttled, "1320": throttled, "1321": throttled,

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

	"1211": modelUnavailable, "1220": modelUnavailable, "1311": modelUnavailable, // the model, or the plan's right to it, is missing

	"1261": fault, "1300": fault, "1301": fault,
}

// zhipuDay is the time zone of Zhipu's days and of the times in its messages.
var zhipuDay = time.FixedZone("UTC+8", 8*60*60)

var zhipuDialect = &dialect{codes: zhipuCodes, zone: zhipuDay}

// zhipuCode matches Zhipu's codes of limits.
var zhipuCode = regexp.MustCompile(`^13[0-9][0-9]$`)

func judgeZhipu(r *http.Response, body []byte) caller.Verdict {
	v := zhipuDialect.judge(r, body)
	if v.Outcome == caller.Throttled && v.Reason == "1304" {
		v.RetryAfter = max(v.RetryAfter, untilMidnight(answered(r), zhipuDay))
	}
	return v
}
