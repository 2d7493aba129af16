package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// object is an error object in OpenAI's shape.
func object(kind, code, message string) string {
	return string(encode(map[string]any{"error": map[string]any{"type": kind, "code": code, "message": message}}))
}

// judgeAs judges records by the profile of that name.
func judgeAs(t *testing.T, name string, records ...recorded) {
	t.Helper()
	p, err := ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	judge(t, p, records)
}

// A request that is larger than its limit is at fault, with whatever status, code and wait it comes.
func TestJudge_FaultsRequestsAboveTheLimit(t *testing.T) {
	t.Parallel()
	for name, rec := range map[string]recorded{
		"openai": {"TPM", 429, "Retry-After: 51", object("tokens", "rate_limit_exceeded", "Request too large for gpt-4o in organization o on tokens per min (TPM): Limit 30000, Requested 37313."), verdict(caller.ClientError, 0, 0, "rate_limit_exceeded")},
		"groq":   {"with used", 429, "retry-after: 51", object("tokens", "rate_limit_exceeded", "Rate limit reached for model `m` in organization `o` on tokens per minute (TPM): Limit 7000, Used 0, Requested ~12903. Please try again in 50.597142857s."), verdict(caller.ClientError, 0, 0, "rate_limit_exceeded")},
		"xai":    {"commas", 429, "", object("", "rate_limit_exceeded", "Limit: 7,000, Used: 100, Requested: 12,903."), verdict(caller.ClientError, 0, 0, "rate_limit_exceeded")},
		"azure":  {"request first", 429, "Retry-After: 3", object("", "429", "Requested 12903 tokens exceeds the limit of 7000 tokens per minute."), verdict(caller.ClientError, 0, 0, "429")},
		"gemini": {"413", 413, "Retry-After: 3", `{"error":{"code":413,"message":"x","status":"RESOURCE_EXHAUSTED"}}`, verdict(caller.ClientError, 0, 0, "RESOURCE_EXHAUSTED")},
	} {
		judgeAs(t, name, rec)
	}
	// What fits when others have gone is throttled.
	for _, message := range []string{
		"Rate limit reached: Limit 7000, Used 6000, Requested 1500. Please try again in 4s.",
		"Limit 7000, Used 0, Requested 7000. Please try again in 4s.",
		"Your limit of 7000 is reached with 9000 requests. Please try again in 4s.",
	} {
		judgeAs(t, "openai", recorded{message, 429, "", object("", "rate_limit_exceeded", message), verdict(caller.Throttled, caller.ScopeAccount, 4*time.Second, "rate_limit_exceeded")})
	}
}

// A limit that names a model is the model's; the account serves other models.
func TestJudge_NarrowsLimitsToTheModel(t *testing.T) {
	t.Parallel()
	for message, of := range map[string]bool{
		"Rate limit reached for gpt-4 in organization org-x on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.":   true,
		"Rate limit reached for model `llama-3` in organization `o` on tokens per day (TPD): Limit 7, Used 7, Requested 1. Please try again in 7m12s.": true,
		"Rate limit reached for gpt-4 on requests per day. Please try again in 7m12s.":                                                                 true,
		"This request would exceed your organization's rate limit (org: o, model: claude-x). Please try again in 7m12s.":                               true,
		"Rate limit reached for organization org-a on tokens: Limit 5 per 1s. Please try again in 7m12s.":                                              false,
		"Too many requests. Please try again in 7m12s.":                                                                                                false,
	} {
		want := verdict(caller.Throttled, caller.ScopeAccount, 7*time.Minute+12*time.Second, "rate_limit_exceeded")
		want.ModelOnly = of
		judgeAs(t, "openai", recorded{message, 429, "", object("", "rate_limit_exceeded", message), want})
	}
	gemini := func(violation string) string {
		return `{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"violations":[` + violation + `]}]}}`
	}
	limited := verdict(caller.Throttled, caller.ScopeAccount, 0, "RESOURCE_EXHAUSTED")
	judgeAs(t, "gemini",
		recorded{"dimension", 429, "", gemini(`{"quotaId":"RequestsPerMinute","quotaDimensions":{"location":"global","model":"gemini-2.5-pro"}}`), ofModel(limited)},
		recorded{"ID", 429, "", gemini(`{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}`), ofModel(limited)},
		recorded{"project", 429, "", gemini(`{"quotaId":"RequestsPerMinutePerProject","quotaDimensions":{"location":"global"}}`), limited},
		recorded{"message", 429, "", `{"error":{"code":429,"message":"You exceeded your current quota.\n* Quota exceeded for metric: x.com/generate_requests_per_model_per_day, limit: 250, model: m\nPlease retry in 5s.","status":"RESOURCE_EXHAUSTED"}}`, ofModel(verdict(caller.Throttled, caller.ScopeAccount, 20*time.Hour, "RESOURCE_EXHAUSTED"))},
	)
}

// A provider without capacity is overloaded for all accounts, also with status 429.
func TestJudge_TellsOverloadFromLimits(t *testing.T) {
	t.Parallel()
	busy := func(wait time.Duration, reason string) caller.Verdict {
		return verdict(caller.Overloaded, caller.ScopeProvider, wait, reason)
	}
	judgeAs(t, "openai",
		recorded{"Cerebras", 429, "", `{"message":"We're experiencing high traffic right now! Please try again soon.","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}`, busy(0, "queue_exceeded")},
		recorded{"Cerebras, message alone", 429, "", `{"message":"We're experiencing high traffic right now!"}`, busy(0, "429")},
		recorded{"Moonshot", 429, "", object("engine_overloaded_error", "", "The engine is currently overloaded, please try again later"), busy(0, "engine_overloaded_error")},
		recorded{"Moonshot, message alone", 429, "", object("", "", "The engine is currently overloaded, please try again in 2s"), busy(2*time.Second, "429")},
		recorded{"Groq flex", 498, "", object("capacity_exceeded", "capacity_exceeded", "Flex tier capacity exceeded"), busy(0, "capacity_exceeded")},
		recorded{"Groq flex, no body", 498, "", "", busy(0, "498")},
		recorded{"Mistral", 429, "", `{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","code":"3505"}`, busy(0, "3505")},
		recorded{"a list of errors", 429, "", `{"success":false,"errors":[{"message":"AiError: Capacity temporarily exceeded, please try again.","code":3040}]}`, busy(0, "3040")},
		recorded{"a model", 503, "", object("", "", "That model is currently overloaded with other requests."), busy(0, "503")},
	)
	judgeAs(t, "azure",
		recorded{"peak load", 429, "", object("", "429", "The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load. Please retry after 20 seconds."), busy(20*time.Second, "429")})
	judgeAs(t, "gemini",
		recorded{"reason", 429, "", `{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"reason":"MODEL_CAPACITY_EXHAUSTED"}]}}`, busy(0, "MODEL_CAPACITY_EXHAUSTED")},
		recorded{"message", 429, "", `{"error":{"code":429,"message":"No capacity available for model gemini-3-pro on the server","status":"RESOURCE_EXHAUSTED"}}`, busy(0, "RESOURCE_EXHAUSTED")},
		recorded{"503", 503, "", `{"error":{"code":503,"message":"No capacity available","status":"UNAVAILABLE"}}`, busy(0, "UNAVAILABLE")})
	judgeAs(t, "deepseek", recorded{"busy", 503, "", object("", "", "Service is too busy. We advise users to switch."), busy(0, "503")})
	judgeAs(t, "anthropic",
		recorded{"acceleration", 429, "", anthropicError("rate_limit_error", "This request would exceed your organization's maximum usage increase rate for input tokens per minute. Please scale up more gradually to stay within the acceleration limit."), verdict(caller.Overloaded, caller.ScopeAccount, 0, "rate_limit_error")})
}

// An account without money is out of credit, whatever the status.
func TestJudge_FindsAccountsWithoutCredit(t *testing.T) {
	t.Parallel()
	broke := func(reason string) caller.Verdict {
		return verdict(caller.OutOfCredit, caller.ScopeAccount, 0, reason)
	}
	const spent = "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing."
	judgeAs(t, "gemini",
		recorded{"402", 402, "", `{"error":{"code":402,"message":"` + spent + `","status":"RESOURCE_EXHAUSTED"}}`, broke("RESOURCE_EXHAUSTED")},
		recorded{"429", 429, "", `{"error":{"code":429,"message":"` + spent + `","status":"RESOURCE_EXHAUSTED"}}`, broke("RESOURCE_EXHAUSTED")},
		recorded{"402 in other words", 402, "", `{"error":{"code":402,"message":"x","status":"RESOURCE_EXHAUSTED"}}`, broke("RESOURCE_EXHAUSTED")})
	judgeAs(t, "openai",
		recorded{"Moonshot", 429, "", object("exceeded_current_quota_error", "", "Your account org-x<ak-y> is suspended, please check your plan and billing details"), broke("exceeded_current_quota_error")},
		recorded{"MiniMax", 429, "", `{"type":"error","error":{"type":"insufficient_balance_error","message":"insufficient balance (1008)","http_code":"429"}}`, broke("insufficient_balance_error")},
		recorded{"DeepSeek", 402, "", object("unknown_error", "invalid_request_error", "Insufficient Balance"), broke("invalid_request_error")},
		recorded{"OpenRouter", 402, "", `{"error":{"code":402,"message":"Insufficient credits. Add more using https://openrouter.ai/credits"}}`, broke("402")},
		recorded{"xAI", 429, "", `{"code":"Some resource has been exhausted","error":"Your team abc has either used all available credits or reached its monthly spending limit."}`, broke("429")},
		recorded{"xAI, new team", 403, "", `{"code":"The caller does not have permission","error":"Your newly created teams doesn't have any credits yet."}`, broke("403")})
	judgeAs(t, "anthropic",
		recorded{"MiniMax", 500, "", anthropicError("api_error", "insufficient balance (1008)"), broke("api_error")},
		recorded{"low", 400, "", anthropicError("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), broke("invalid_request_error")})
	judgeAs(t, "minimax",
		recorded{"code", 500, "", anthropicError("api_error", "insufficient balance (1008)"), broke("1008")},
		recorded{"limit", 500, "", anthropicError("api_error", "rate limit exceeded(RPM) (1002)"), verdict(caller.Throttled, caller.ScopeAccount, 0, "1002")},
		recorded{"key", 401, "", anthropicError("authentication_error", "invalid api key (2049)"), verdict(caller.KeyRejected, caller.ScopeKey, 0, "2049")},
		recorded{"growth", 429, "", anthropicError("rate_limit_error", "rate growth limit (2045)"), verdict(caller.Overloaded, caller.ScopeAccount, 0, "2045")})
}

// A closed account is disabled as a whole.
func TestJudge_FindsClosedAccounts(t *testing.T) {
	t.Parallel()
	shut := func(reason string) caller.Verdict {
		return verdict(caller.KeyRejected, caller.ScopeAccount, 0, reason)
	}
	judgeAs(t, "anthropic",
		recorded{"disabled", 400, "", anthropicError("invalid_request_error", "This organization has been disabled."), shut("invalid_request_error")},
		recorded{"disabled", 403, "", anthropicError("permission_error", "Your organization has been disabled."), shut("permission_error")})
	judgeAs(t, "gemini",
		recorded{"denied", 403, "", `{"error":{"code":403,"message":"Your project has been denied access. Please contact support.","status":"PERMISSION_DENIED"}}`, shut("PERMISSION_DENIED")},
		recorded{"suspended", 403, "", `{"error":{"code":403,"message":"Permission denied: Consumer 'api_key:AIx' has been suspended.","status":"PERMISSION_DENIED"}}`, shut("PERMISSION_DENIED")},
		recorded{"suspended", 403, "", `{"error":{"code":403,"message":"Consumer 'projects/123' has been suspended.","status":"PERMISSION_DENIED"}}`, shut("PERMISSION_DENIED")})
	judgeAs(t, "groq",
		recorded{"restricted", 400, "", object("invalid_request_error", "organization_restricted", "Organization has been restricted."), shut("organization_restricted")},
		recorded{"restricted, in words", 403, "", object("invalid_request_error", "", "Organization has been restricted. Please reach out to support."), shut("invalid_request_error")})
	judgeAs(t, "openai",
		recorded{"deactivated", 401, "", object("invalid_request_error", "account_deactivated", "x"), shut("account_deactivated")},
		recorded{"a prompt about it", 400, "", object("invalid_request_error", "", "Invalid value: 'This organization has been disabled.'"), verdict(caller.ClientError, 0, 0, "invalid_request_error")})
}

// What one account lacks another may have: the model, or the use of it.
func TestJudge_SendsWhatAnAccountLacksElsewhere(t *testing.T) {
	t.Parallel()
	judgeAs(t, "openai",
		recorded{"code, 403", 403, "", object("invalid_request_error", "model_not_found", "Project x does not have access to model y"), unavailable("model_not_found")},
		recorded{"code, 404", 404, "", object("invalid_request_error", "model_not_found", "The model `gpt-9` does not exist or you do not have access to it."), unavailable("model_not_found")},
		recorded{"words", 404, "", object("", "", "The model `gpt-9` does not exist or you do not have access to it."), unavailable("404")},
		recorded{"xAI", 404, "", `{"code":"Some requested entity was not found","error":"The model grok-9 does not exist or your team x does not have access to it."}`, unavailable("404")},
		recorded{"another thing", 404, "", object("invalid_request_error", "", "No such File object: file-1"), verdict(caller.ClientError, 0, 0, "invalid_request_error")},
		recorded{"x-should-retry", 404, "x-should-retry: true", object("invalid_request_error", "model_not_found", "x"), unavailable("model_not_found")})
	judgeAs(t, "azure", recorded{"deployment", 404, "", object("", "DeploymentNotFound", "The API deployment for this resource does not exist."), unavailable("DeploymentNotFound")})
	judgeAs(t, "anthropic",
		recorded{"model", 404, "", anthropicError("not_found_error", "model: claude-x"), unavailable("not_found_error")},
		recorded{"long context", 429, "Retry-After: 9", anthropicError("rate_limit_error", "Extra usage is required for long context requests."), caller.Verdict{Outcome: caller.ClientError, Elsewhere: true, Reason: "rate_limit_error"}},
		recorded{"long context", 400, "", anthropicError("invalid_request_error", "The long context beta is not yet available for this subscription."), caller.Verdict{Outcome: caller.ClientError, Elsewhere: true, Reason: "invalid_request_error"}})
	judgeAs(t, "gemini", recorded{"model", 404, "", `{"error":{"code":404,"message":"models/gemini-9 is not found for API version v1beta","status":"NOT_FOUND"}}`, unavailable("NOT_FOUND")})
	judgeAs(t, "vertex", recorded{"model", 404, "", "[" + `{"error":{"code":404,"message":"Publisher Model ` + "`projects/p/models/m`" + ` was not found or your project does not have access to it.","status":"NOT_FOUND"}}` + "]", unavailable("NOT_FOUND")})
	judgeAs(t, "moonshot", recorded{"model", 404, "", object("resource_not_found_error", "", "Not found the model k9 or Permission denied"), unavailable("resource_not_found_error")})
	judgeAs(t, "mistral", recorded{"model", 400, "", `{"object":"error","message":"Invalid model: x","type":"invalid_model","code":"1500"}`, unavailable("1500")})
	judgeAs(t, "zhipu", recorded{"plan", 429, "", object("", "1311", "x"), unavailable("1311")})
	judgeAs(t, "deepseek", recorded{"model", 400, "", object("invalid_request_error", "invalid_request_error", "Model Not Exist"), unavailable("invalid_request_error")})
	judgeAs(t, "openrouter", recorded{"model", 404, "", `{"error":{"code":404,"message":"No endpoints found for x/y."}}`, unavailable("404")})
	judgeAs(t, "qwen", recorded{"model", 403, "", `{"code":"Model.AccessDenied","message":"Model access denied."}`, unavailable("Model.AccessDenied")})
}

// A 401 or 403 that names the request, or the place that it comes from, isn't about the key.
func TestJudge_KeepsKeysForFaultsOfTheRequest(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"mismatched_organization", "invalid_organization", "missing_scope", "ip_not_authorized"} {
		for _, status := range []int{401, 403} {
			judgeAs(t, "openai", recorded{code, status, "", object("invalid_request_error", code, "x"), verdict(caller.ClientError, 0, 0, code)})
		}
	}
	judgeAs(t, "openai",
		recorded{"scope, in words", 401, "", object("invalid_request_error", "", "You have insufficient permissions for this operation. Missing scopes: model.request"), verdict(caller.ClientError, 0, 0, "invalid_request_error")},
		recorded{"the provider's own trouble", 401, "", object("server_error", "", "Unauthorized"), verdict(caller.Transient, caller.ScopeProvider, 0, "server_error")})
	judgeAs(t, "github",
		recorded{"JWT", 401, "", `{"message":"A JSON web token could not be decoded"}`, verdict(caller.ClientError, 0, 0, "401")},
		recorded{"JWT's time", 401, "", `{"message":"'Expiration time' claim ('exp') is too far in the future"}`, verdict(caller.ClientError, 0, 0, "401")},
		recorded{"token", 401, "", `{"message":"Bad credentials"}`, verdict(caller.KeyRejected, caller.ScopeKey, 0, "401")})
}

// Keys are refused with 400 and 403, too.
func TestJudge_FindsRefusedKeys(t *testing.T) {
	t.Parallel()
	refused := func(reason string) caller.Verdict { return verdict(caller.KeyRejected, caller.ScopeKey, 0, reason) }
	const xai = `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai."}`
	judgeAs(t, "xai", recorded{"text", 400, "", xai, refused("400")})
	judgeAs(t, "openai", recorded{"xAI's", 400, "", xai, refused("400")},
		recorded{"Groq", 401, "", object("invalid_request_error", "invalid_api_key", "Invalid API Key"), refused("invalid_api_key")},
		recorded{"Moonshot", 401, "", object("invalid_authentication_error", "", "Invalid Authentication"), refused("invalid_authentication_error")})
	judgeAs(t, "gemini",
		recorded{"not valid", 400, "", `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}`, refused("INVALID_ARGUMENT")},
		recorded{"expired", 400, "", `{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}`, refused("INVALID_ARGUMENT")},
		recorded{"leaked", 403, "", `{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}`, refused("PERMISSION_DENIED")})
	judgeAs(t, "xai", recorded{"blocked", 403, "", `{"code":"The caller does not have permission","error":"Access denied. The API key is currently blocked."}`, refused("403")})
	judgeAs(t, "generic", recorded{"detail", 403, "", `{"detail":{"status":"invalid_api_key","message":"x"}}`, refused("invalid_api_key")})
	judgeAs(t, "cohere", recorded{"token", 401, "", `{"message":"invalid api token"}`, refused("401")})
}

// Some failures are one call's own, and pass.
func TestJudge_RetriesLocksAndGateways(t *testing.T) {
	t.Parallel()
	passing := func(reason string) caller.Verdict {
		return verdict(caller.Transient, caller.ScopeProvider, 0, reason)
	}
	judgeAs(t, "generic",
		recorded{"Stripe's lock", 429, "Stripe-Should-Retry: true", object("invalid_request_error", "lock_timeout", "x"), passing("lock_timeout")},
		recorded{"Stripe's conflict", 409, "Stripe-Should-Retry: true", object("idempotency_error", "", "x"), passing("idempotency_error")},
		recorded{"Stripe says no", 500, "Stripe-Should-Retry: false", "", verdict(caller.ClientError, 0, 0, "500")},
		recorded{"Notion's conflict", 409, "", `{"object":"error","status":409,"code":"conflict_error","message":"Conflict occurred while saving. Please try again."}`, passing("conflict_error")},
		recorded{"another conflict", 409, "", `{"code":"exists","message":"already there"}`, verdict(caller.ClientError, 0, 0, "exists")},
		recorded{"SSL at the CDN", 525, "", "", passing("525")},
		recorded{"DNS at the CDN", 530, "", "error code: 1016", passing("530")})
}

// A wait stands in Retry-After, in the message, in metadata, or in other headers; the longest of the first two counts.
func TestJudge_FindsTheWait(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]time.Duration{
		"Please try again in 9m38s.":                                                9*time.Minute + 38*time.Second,
		"Please try again in 1h2m3.5s. Visit x":                                     time.Hour + 2*time.Minute + 3500*time.Millisecond,
		"Please try again in 6ms":                                                   6 * time.Millisecond,
		"Rate limit. Please retry after 20 seconds.":                                20 * time.Second,
		"please try again after 1 second":                                           time.Second,
		"Please retry in 38.922534355s.":                                            38922534355,
		"Your quota will reset after 27s.":                                          27 * time.Second,
		"Your quota will reset after 1h32m5s.":                                      time.Hour + 32*time.Minute + 5*time.Second,
		"Try again in 6 minutes":                                                    6 * time.Minute,
		"Try again in 2 hours and 5 minutes.":                                       2*time.Hour + 5*time.Minute,
		"Quota will be replenished in 02:07:26.":                                    2*time.Hour + 7*time.Minute + 26*time.Second,
		"Please wait 5 seconds before retrying":                                     5 * time.Second,
		"Please wait for 2 minutes":                                                 2 * time.Minute,
		"Your limit will reset at 2026-11-20 12:01:25":                              85 * time.Second,
		"resets at 2026-11-20T12:00:30Z":                                            30 * time.Second,
		"resets at 2026-11-20T14:00:30+02:00":                                       30 * time.Second,
		"Please try again in 3 days":                                                24 * time.Hour,
		"Please wait a few minutes.":                                                0,
		"Limit 20 requests per 1 minute. Please slow your requests.":                0,
		"try again in 99999999999999999999999s":                                     24 * time.Hour,
		"You have 5 requests in 1 minute, try again later.":                         0,
		"request reached organization max RPM: 3, please try again after 1 seconds": time.Second,
	} {
		judgeAs(t, "moonshot", recorded{message, 429, "", object("rate_limit_error", "", message), verdict(caller.Throttled, caller.ScopeAccount, want, "rate_limit_error")})
	}
	// Z.ai's times are Beijing's, in its own interface and in others'. Noon is eight in the evening there.
	for _, code := range []string{"1308", "1316", "1317", "1318", "1319", "1320", "1321"} {
		rec := recorded{code, 429, "", object("", code, "Usage limit reached. Your limit will reset at 2026-11-20 23:01:25"), verdict(caller.Throttled, caller.ScopeAccount, 3*time.Hour+time.Minute+25*time.Second, code)}
		judgeAs(t, "zhipu", rec)
		judgeAs(t, "openai", rec)
		judgeAs(t, "anthropic", rec)
	}
	judgeAs(t, "openrouter",
		recorded{"metadata", 429, "", `{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1795176030000"},"provider_name":null}},"user_id":"u"}`, verdict(caller.Throttled, caller.ScopeAccount, 30*time.Second, "429")},
		recorded{"upstream", 429, "", `{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"m is temporarily rate-limited upstream","provider_name":"Chutes"}}}`, verdict(caller.Overloaded, caller.ScopeProvider, 0, "429")})
	judgeAs(t, "openai",
		recorded{"both", 429, "Retry-After: 2", object("", "rate_limit_exceeded", "Please try again in 9m38s."), verdict(caller.Throttled, caller.ScopeAccount, 9*time.Minute+38*time.Second, "rate_limit_exceeded")})
	judgeAs(t, "azure",
		recorded{"API Management", 403, "", `{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 02:07:26."}`, verdict(caller.Throttled, caller.ScopeAccount, 2*time.Hour+7*time.Minute+26*time.Second, "403")})
}

// A reason is a code or a status. A sentence in its place may quote a key.
func TestJudge_GivesNoSentenceAsReason(t *testing.T) {
	t.Parallel()
	for _, p := range all(t) {
		v := p.Judge(recorded{status: http.StatusBadRequest}.response(t), []byte(`{"code":"the key sk-canary is wrong","error":"sk-canary","type":"a sk-canary"}`))
		if strings.Contains(v.Reason, "canary") {
			t.Errorf("%s: got reason %q, want none of the body's sentences", p.Name, v.Reason)
		}
	}
}
