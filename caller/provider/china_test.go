package provider

import (
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// DeepSeek's status decides, because its codes hardly differ.
func TestDeepSeek_JudgesByStatus(t *testing.T) {
	p := DeepSeek()
	failure := func(message string) string {
		return `{"error":{"message":"` + message + `","type":"unknown_error","param":null,"code":"invalid_request_error"}}`
	}
	judge(t, p, []recorded{
		{"no balance", 402, "", failure("Insufficient Balance"), verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "invalid_request_error")},
		{"in flight", 429, "", failure("Rate Limit Reached"), verdict(caller.Throttled, caller.ScopeAccount, 0, "invalid_request_error")},
		{"overloaded", 503, "", failure("Server Overloaded"), verdict(caller.Overloaded, caller.ScopeProvider, 0, "invalid_request_error")},
		{"bad key", 401, "", failure("Authentication Fails"), verdict(caller.KeyRejected, caller.ScopeKey, 0, "invalid_request_error")},
		{"bad parameters", 422, "", failure("x"), verdict(caller.ClientError, 0, 0, "invalid_request_error")},
	})
	usage(t, p, "\n\n\n"+`{"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"prompt_cache_hit_tokens":4}}`,
		caller.Cost{caller.Tokens: 30, caller.InputTokens: 10, caller.OutputTokens: 20}) // after keep-alive lines
}

// Zhipu's codes decide, because the status is nearly always 429.
func TestZhipu_JudgesByCode(t *testing.T) {
	failure := func(code, message string) string {
		return `{"error":{"code":"` + code + `","message":"` + message + `"}}`
	}
	limited := func(after time.Duration, code string) caller.Verdict {
		return verdict(caller.Throttled, caller.ScopeAccount, after, code)
	}
	judge(t, Zhipu(), []recorded{
		{"in flight", 429, "", failure("1302", "您当前使用该 API 的并发数过高"), ofModel(limited(0, "1302"))},
		{"rate", 429, "Retry-After: 3", failure("1303", "x"), ofModel(limited(3*time.Second, "1303"))},
		// Noon is eight in the evening in Beijing.
		{"today's limit", 429, "", failure("1304", "x"), limited(4*time.Hour, "1304")},
		{"a window's limit", 429, "", failure("1308", "已达到 5 小时的使用上限。您的限额将在 2026-11-20 21:30:00 重置"), limited(90*time.Minute, "1308")},
		{"the month's limit", 429, "", failure("1310", "您的限额将在 2026-12-01 00:00:00 重置"), limited(24*time.Hour, "1310")},
		{"platform", 429, "", failure("1305", "x"), verdict(caller.Overloaded, caller.ScopeProvider, 0, "1305")},
		{"arrears", 429, "", failure("1113", "您的账户已欠费"), verdict(caller.OutOfCredit, caller.ScopeAccount, 0, "1113")},
		{"locked", 429, "", failure("1112", "x"), verdict(caller.KeyRejected, caller.ScopeAccount, 0, "1112")},
		{"bad token", 401, "", failure("1002", "x"), verdict(caller.KeyRejected, caller.ScopeKey, 0, "1002")},
		{"number for a code", 500, "", `{"error":{"code":1234,"message":"x"}}`, verdict(caller.Transient, caller.ScopeProvider, 0, "1234")},
		{"unsafe content", 400, "", failure("1301", "x"), verdict(caller.ClientError, 0, 0, "1301")},
	})
}

// Qwen's codes in both of its forms.
func TestQwen_JudgesBothForms(t *testing.T) {
	p := Qwen()
	native := func(code, message string) string {
		return `{"code":"` + code + `","message":"` + message + `","request_id":"r"}`
	}
	compatible := func(code, message string) string {
		return `{"error":{"message":"` + message + `","type":"` + code + `","param":null,"code":"` + code + `"},"request_id":"r"}`
	}
	of := func(m meaning, reason string) caller.Verdict { return m.apply(caller.Verdict{Reason: reason}) }
	judge(t, p, []recorded{
		{"requests", 429, "", native("Throttling.RateQuota", "Requests rate limit exceeded"), of(throttledModel, "Throttling.RateQuota")},
		{"requests", 429, "", compatible("limit_requests", "You exceeded your current requests list."), of(throttledModel, "limit_requests")},
		{"tokens", 429, "", native("Throttling.AllocationQuota", "Allocated quota exceeded"), of(throttledModel, "Throttling.AllocationQuota")},
		{
			"tokens, in words of money", 429, "",
			compatible("insufficient_quota", "You exceeded your current quota, please check your plan and billing details."),
			of(throttledModel, "insufficient_quota"),
		},
		{"slope", 429, "", native("Throttling.BurstRate", "Request rate increased too quickly"), of(slowDown, "Throttling.BurstRate")},
		{"slope, in words only", 429, "", native("Throttling", "Request rate increased too quickly, slow down"), of(slowDown, "Throttling")},
		{"free quota", 429, "", native("Throttling.AllocationQuota", "Free allocated quota exceeded."), of(outOfCredit, "Throttling.AllocationQuota")},
		{"arrears", 400, "", native("Arrearage", "Access denied, please make sure your account is in good standing."), of(outOfCredit, "Arrearage")},
		{"free tier", 403, "", native("AllocationQuota.FreeTierOnly", "x"), of(outOfCredit, "AllocationQuota.FreeTierOnly")},
		{"bad key", 401, "", compatible("invalid_api_key", "Incorrect API key provided."), of(revoked, "invalid_api_key")},
		{"serving", 503, "", native("ModelServingError", "Too many requests"), of(overloaded, "ModelServingError")},
		{"bad parameter", 400, "", native("InvalidParameter", "x"), of(fault, "InvalidParameter")},
	})
	estimate(t, p, `{"model":"qwen-max","input":{"messages":[{"role":"user","content":"你好，世界"}]},"parameters":{"max_tokens":50,"n":2}}`,
		caller.Cost{caller.Requests: 1, caller.Tokens: 105, caller.InputTokens: 5, caller.OutputTokens: 100})
	usage(t, p, `{"output":{},"usage":{"input_tokens":10,"output_tokens":20,"total_tokens":30}}`,
		caller.Cost{caller.Tokens: 30, caller.InputTokens: 10, caller.OutputTokens: 20})
}
