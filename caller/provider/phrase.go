package provider

import (
	"regexp"
	"slices"
)

// phrase is the beginning of a message, and what it means.
type phrase struct {
	begins   *regexp.Regexp
	means    meaning
	statuses []int // none: any
}

// begins compiles the beginning of a message. Messages are compared from their first word on, because a later part may quote
// the request.
func begins(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?i)(?:` + pattern + `)`) }

// Statuses of phrases that other statuses may use for something else.
var (
	refusals = []int{400, 401, 403}
	lookups  = []int{400, 403, 404}
)

// phrases are messages that several providers have, in the order in which they are tried.
var phrases = []phrase{
	// The account can't pay.
	{begins: begins(`(?:\w+: )?(?:your |the |this )?(?:account |team |organi[sz]ation |user )?(?:has |have )?(?:an )?` +
		`(?:insufficient|not enough) (?:account )?(?:balance|credits?|funds)\b`), means: outOfCredit},
	{begins: begins(`your (?:prepayment |prepaid |free |remaining )?(?:credits?(?: balance)?|balance) (?:is|are|has been|have been) ` +
		`(?:too low|depleted|exhausted|used up|insufficient)`), means: outOfCredit},
	{begins: begins(`(?:you have|you've|your account has|your team has) (?:run out of|used (?:up )?all (?:of )?your) (?:available )?(?:credits?|funds)`), means: outOfCredit},
	{begins: begins(`you have reached your specified (?:workspace )?api usage limits`), means: outOfCredit},
	{begins: begins(`(?:your|the) (?:newly created )?(?:account|teams?|organi[sz]ation|workspace)\b.{0,120}?` +
		`(?:used all available credits|monthly spending limit|check your plan and billing|have any credits|no credits|in arrears|out of credits?)`), means: outOfCredit},
	{begins: begins(`you have exceeded your monthly (?:included )?(?:credits|spending limit)`), means: outOfCredit},
	{begins: begins(`this request requires more credits`), means: outOfCredit},
	{begins: begins(`(?:账户)?余额不足|(?:您的)?账户已欠费`), means: outOfCredit},

	// The account is closed.
	{begins: begins(`(?:permission denied: )?consumer '[^']{0,200}' has been suspended`), means: closed},
	{begins: begins(`(?:this|your|the) (?:organi[sz]ation|account|project|team|workspace|user)(?: \S{1,80}){0,2}? ` +
		`(?:has been|have been|is|was) (?:permanently |temporarily |currently )?(?:denied access|disabled|deactivated|suspended|restricted|terminated|banned|blocked|closed)`), means: closed},
	{begins: begins(`organi[sz]ation has been (?:restricted|disabled|suspended)`), means: closed},

	// The request asks for what the key's scope or the place of the client doesn't allow.
	{begins: begins(`you have insufficient permissions for this operation`), means: fault, statuses: refusals},
	{begins: begins(`a json web token could not be decoded|'?(?:expiration time|issued at|issuer)'? claim`), means: fault, statuses: refusals},
	{begins: begins(`(?:openai-organization header|no such organi[sz]ation)`), means: fault, statuses: refusals},
	{begins: begins(`your (?:request was blocked|ip\b)|(?:the )?(?:client )?ip address\b`), means: fault, statuses: refusals},

	// The key is not accepted.
	{begins: begins(`(?:incorrect|invalid|wrong|unknown) (?:x-)?api[- ]?(?:key|token)\b`), means: revoked, statuses: refusals},
	{begins: begins(`(?:the |this |your )?(?:provided )?api[- ]key (?:\S{1,80} ){0,3}?(?:expired|(?:not|isn't) valid|(?:is|has been|was) ` +
		`(?:currently )?(?:invalid|revoked|disabled|blocked|deleted|reported as leaked))`), means: revoked, statuses: refusals},

	// The account doesn't have the model.
	{begins: begins(`(?:project|organi[sz]ation|team|you|your \w+)(?: \S{1,128})? (?:does not|do not|doesn't|don't) have access to (?:the )?model`), means: modelUnavailable, statuses: lookups},
	{begins: begins(`(?:the )?(?:requested )?(?:publisher )?model:? [\x60'"]?\S{1,200}[\x60'"]? (?:does not exist|doesn't exist|(?:was |is )?not found|is not available|is not supported)`), means: modelUnavailable, statuses: lookups},
	{begins: begins(`models?/\S{1,200} is not found|model not exist|not found the model|unable to access (?:non-serverless )?model|no endpoints found`), means: modelUnavailable, statuses: lookups},
	{begins: begins(`invalid model\b|unknown model\b`), means: modelUnavailable, statuses: lookups},

	// The account doesn't have this use of the model.
	{begins: begins(`extra usage is required for long context|the long context (?:beta|window) is not (?:yet )?available`), means: otherAccount},

	// The load grows too fast.
	{begins: begins(`request rate increased too quickly|slow down\b`), means: slowDown},
	{begins: begins(`.{0,200}(?:acceleration limit|usage increase rate)`), means: slowDown, statuses: []int{429}},

	// The provider has too little capacity.
	{begins: begins(`(?:the |this |that |our )?(?:engine|model|server|service|system|platform)s?(?: \S{1,80}){0,2}? (?:is|are) (?:currently |temporarily |too )?` +
		`(?:overloaded|busy|at capacity|experiencing high (?:demand|traffic|load))`), means: overloaded},
	{begins: begins(`we(?:'re| are) (?:currently )?experiencing (?:high|heavy|unusually high) (?:traffic|demand|load)`), means: overloaded},
	{begins: begins(`(?:server |model )?overloaded\b|no capacity (?:available|left)|service tier capacity exceeded|(?:\w+ )?(?:tier )?capacity (?:exceeded|exhausted|reached)`), means: overloaded},
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
