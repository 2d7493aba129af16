package provider

import (
	"regexp"
	"slices"
	"strings"
)

// phrase is the beginning of a message, and what it means.
type phrase struct {
	begins   *regexp.Regexp
	means    meaning
	statuses []int // none: any
}

// begins compiles the alternatives for the beginning of a message. Messages are compared from their first word on, because
// a later part may quote the request.
func begins(alternatives ...string) *regexp.Regexp {
	return regexp.MustCompile(`^(?i)(?:` + strings.Join(alternatives, "|") + `)`)
}

// Statuses of phrases that other statuses may use for something else.
var (
	refusals = []int{400, 401, 403}
	lookups  = []int{400, 403, 404}
)

// Parts of phrases.
const (
	owner   = `(?:this |your |the )?(?:newly created )?(?:account|teams?|organi[sz]ation|project|workspace|user)`
	quoted  = "[`'\"]?\\S{1,200}[`'\"]?"
	missing = `(?:does not exist|doesn't exist|(?:was |is )?not found|is not available|is not supported)`
)

// phrases are messages that several providers have, in the order in which they are tried.
var phrases = []phrase{
	{
		begins: begins( // the account can't pay
			`(?:\w+: )?(?:`+owner+` )?(?:has |have )?(?:an )?(?:insufficient|not enough) (?:account )?(?:balance|credits?|funds)\b`,
			`your (?:prepayment |prepaid |free |remaining )?(?:credits?(?: balance)?|balance) (?:is|are|has been|have been) `+
				`(?:too low|depleted|exhausted|used up|insufficient)`,
			`(?:you(?: have|'ve)|`+owner+` has) (?:run out of|used (?:up )?all (?:of )?your) (?:available )?(?:credits?|funds)`,
			`you have reached your specified (?:workspace )?api usage limits`,
			owner+`\b.{0,120}?(?:used all available credits|monthly spending limit|check your plan and billing|`+
				`have any credits|no credits|in arrears|out of credits?)`,
			`you have exceeded your monthly (?:included )?(?:credits|spending limit)`,
			`this request requires more credits`,
			`(?:账户)?余额不足|(?:您的)?账户已欠费`,
		),
		means: outOfCredit,
	},
	{
		begins: begins( // the account is closed
			`(?:permission denied: )?consumer '[^']{0,200}' has been suspended`,
			owner+`(?: \S{1,80}){0,2}? (?:has been|have been|is|was) (?:permanently |temporarily |currently )?`+
				`(?:denied access|disabled|deactivated|suspended|restricted|terminated|banned|blocked|closed)`,
		),
		means: closed,
	},
	{
		begins: begins( // the key's scope or the client's place doesn't allow the request
			`you have insufficient permissions for this operation`,
			`a json web token could not be decoded|'?(?:expiration time|issued at|issuer)'? claim`,
			`openai-organization header|no such organi[sz]ation`,
			`your (?:request was blocked|ip\b)|(?:the )?(?:client )?ip address\b`,
		),
		means: fault, statuses: refusals,
	},
	{
		begins: begins( // the key isn't accepted
			`(?:incorrect|invalid|wrong|unknown) (?:x-)?api[- ]?(?:key|token)\b`,
			`(?:access denied[.:] )?(?:the |this |your )?(?:provided )?api[- ]key (?:\S{1,80} ){0,3}?(?:expired|(?:not|isn't) valid|`+
				`(?:is|has been|was) (?:currently )?(?:invalid|revoked|disabled|blocked|deleted|reported as leaked))`,
		),
		means: revoked, statuses: refusals,
	},
	{
		begins: begins( // the account doesn't have the model
			`(?:project|organi[sz]ation|team|you|your \w+)(?: \S{1,128})? (?:do|does)(?: not|n't) have access to (?:the )?model`,
			`(?:the )?(?:requested )?(?:publisher )?model:? `+quoted+` `+missing,
			`models?/\S{1,200} is not found|model not exist|not found the model|invalid model\b|unknown model\b`,
			`unable to access (?:non-serverless )?model|no endpoints found`,
		),
		means: modelUnavailable, statuses: lookups,
	},
	{
		begins: begins( // the account doesn't have this use of the model
			`extra usage is required for long context`, `the long context (?:beta|window) is not (?:yet )?available`,
		),
		means: otherAccount,
	},
	{begins: begins(`request rate increased too quickly`, `slow down\b`), means: slowDown},
	{begins: begins(`.{0,200}(?:acceleration limit|usage increase rate)`), means: slowDown, statuses: []int{429}},
	{
		begins: begins( // the provider has too little capacity
			`(?:the |this |that |our )?(?:engine|model|server|service|system|platform)s?(?: \S{1,80}){0,2}? `+
				`(?:is|are) (?:currently |temporarily |too )?(?:overloaded|busy|at capacity|experiencing high (?:demand|traffic|load))`,
			`we(?:'re| are) (?:currently )?experiencing (?:high|heavy|unusually high) (?:traffic|demand|load)`,
			`(?:server |model )?overloaded\b`,
			`(?:\w+: )?capacity temporarily exceeded`,
			`no capacity (?:available|left)|service tier capacity exceeded|(?:\w+ )?(?:tier )?capacity (?:exceeded|exhausted|reached)`,
		),
		means: overloaded,
	},
}

// find returns the meaning of a message.
func find(list []phrase, status int, message string) (meaning, bool) {
	if message == "" {
		return meaning{}, false
	}
	for _, p := range list {
		if (p.statuses == nil || slices.Contains(p.statuses, status)) && p.begins.MatchString(message) {
			return p.means, true
		}
	}
	return meaning{}, false
}
