package provider

import (
	"strings"

	"github.com/penstock/penstock/caller"
)

// meaning is the outcome and scope of a code or a phrase.
type meaning struct {
	outcome   caller.Outcome
	scope     caller.Scope
	modelOnly bool
	elsewhere bool
}

// Meanings that most providers have.
var (
	throttled        = meaning{outcome: caller.Throttled, scope: caller.ScopeAccount}
	throttledModel   = meaning{outcome: caller.Throttled, scope: caller.ScopeAccount, modelOnly: true}
	slowDown         = meaning{outcome: caller.Overloaded, scope: caller.ScopeAccount}
	overloaded       = meaning{outcome: caller.Overloaded, scope: caller.ScopeProvider}
	transient        = meaning{outcome: caller.Transient, scope: caller.ScopeProvider}
	outOfCredit      = meaning{outcome: caller.OutOfCredit, scope: caller.ScopeAccount}
	closed           = meaning{outcome: caller.KeyRejected, scope: caller.ScopeAccount}
	revoked          = meaning{outcome: caller.KeyRejected, scope: caller.ScopeKey}
	fault            = meaning{outcome: caller.ClientError, scope: caller.ScopeAccount}
	modelUnavailable = meaning{outcome: caller.ClientError, scope: caller.ScopeAccount, modelOnly: true, elsewhere: true}
	otherAccount     = meaning{outcome: caller.ClientError, scope: caller.ScopeAccount, elsewhere: true}
)

// final reports whether neither a phrase nor a header changes the meaning.
func (m meaning) final() bool {
	return m == outOfCredit || m == closed || m.elsewhere
}

// apply puts a meaning into a verdict. A fault has no wait.
func (m meaning) apply(v caller.Verdict) caller.Verdict {
	v.Outcome, v.Scope, v.ModelOnly, v.Elsewhere = m.outcome, m.scope, m.modelOnly, m.elsewhere
	if m.outcome == caller.ClientError {
		v.RetryAfter = 0
	}
	return v
}

// common has the codes whose meaning doesn't depend on the provider, in the form that plain returns.
var common = map[string]meaning{
	"ratelimitexceeded": throttled, "ratelimitreached": throttled, "ratelimitreachederror": throttled,
	"ratelimited": throttled, "ratelimit": throttled, "ratelimiterror": throttled, "ratelimitexceedederror": throttled,
	"toomanyrequests": throttled, "toomanyrequestserror": throttled, "throttled": throttled, "throttling": throttled,
	"throttlingexception": throttled, "requestlimitexceeded": throttled, "resourceexhausted": throttled,

	"slowdown": slowDown,

	"overloaded": overloaded, "overloadederror": overloaded, "serverisoverloaded": overloaded, "serveroverloaded": overloaded,
	"engineoverloaded": overloaded, "engineoverloadederror": overloaded, "modeloverloaded": overloaded,
	"queueexceeded": overloaded, "capacityexceeded": overloaded, "servicetiercapacityexceeded": overloaded,
	"modelcapacityexhausted": overloaded, "nocapacity": overloaded,

	"locktimeout": transient, "conflicterror": transient,

	"insufficientquota": outOfCredit, "insufficientbalance": outOfCredit, "insufficientbalanceerror": outOfCredit,
	"insufficientcredits": outOfCredit, "insufficientcredit": outOfCredit, "insufficientfunds": outOfCredit,
	"creditbalanceexhausted": outOfCredit, "creditbalancetoolow": outOfCredit, "creditsexhausted": outOfCredit,
	"exceededcurrentquotaerror": outOfCredit, "billinghardlimitreached": outOfCredit, "billingnotactive": outOfCredit,
	"billingerror": outOfCredit, "billingdisabled": outOfCredit, "paymentrequired": outOfCredit,
	"organizationusagelimitexceeded": outOfCredit, "arrearage": outOfCredit,

	"accountdeactivated": closed, "accountsuspended": closed, "accountdisabled": closed, "accountclosed": closed,
	"accessterminated": closed, "consumersuspended": closed, "organizationrestricted": closed,
	"organizationdisabled": closed, "organizationdeactivated": closed, "organizationsuspended": closed,
	"projectdisabled": closed, "projectsuspended": closed,

	"invalidapikey": revoked, "apikeyinvalid": revoked, "incorrectapikeyerror": revoked, "apikeyrevoked": revoked,
	"apikeydisabled": revoked, "apikeyblocked": revoked, "apikeyexpired": revoked, "invalidauthenticationerror": revoked,
	"authenticationerror": revoked, "unauthenticated": revoked, "accesstokenexpired": revoked,

	"mismatchedorganization": fault, "invalidorganization": fault, "mismatchedproject": fault, "missingscope": fault,
	"ipnotauthorized": fault, "requesttoolarge": fault, "contextlengthexceeded": fault,

	"modelnotfound": modelUnavailable, "deploymentnotfound": modelUnavailable, "modelnotavailable": modelUnavailable,
	"modelnotexist": modelUnavailable, "modelaccessdenied": modelUnavailable, "modelnotsupported": modelUnavailable,
}

// plain returns a code in small letters, without what providers put between words.
func plain(code string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '_' || r == '-' || r == '.' || r == ' ' || r == '/':
			return -1
		}
		return r
	}, code)
}

// commonMeaning looks up a code. Codes for spending limits have many first words.
func commonMeaning(code string) (meaning, bool) {
	name := plain(code)
	if strings.HasSuffix(name, "spendlimitexceeded") || strings.HasSuffix(name, "spendlimitreached") {
		return outOfCredit, true
	}
	m, ok := common[name]
	return m, ok
}
