package provider

import (
	"maps"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// The headers of the current draft and of earlier ones.
func TestIETF_ReadsAllDrafts(t *testing.T) {
	const spent = `RateLimit-Policy: "burst";q=100;w=60, "daily";q=1000;w=86400;qu="content-bytes"` + "\n" +
		`RateLimit: "burst";r=0;t=30, "daily";r=50;t=3600`
	limited := verdict(caller.Throttled, caller.ScopeAccount, 30*time.Second, "429")
	judge(t, IETF(), []recorded{
		{"reset", 429, spent, "", limited},
		{"Retry-After wins", 429, spent + "\nRetry-After: 5", "", verdict(caller.Throttled, caller.ScopeAccount, 5*time.Second, "429")},
		{"an early draft", 429, "RateLimit-Limit: 100, 100;w=60\nRateLimit-Remaining: 0\nRateLimit-Reset: 30", "", limited},
		{"draft 7", 429, "RateLimit: limit=100, remaining=0, reset=30", "", limited},
		{"nothing", 429, "", "", verdict(caller.Throttled, caller.ScopeAccount, 0, "429")},
	})
	burst := caller.Quota{Metric: caller.Requests, Limit: 100, Period: time.Minute, Remaining: 50, Reset: 30 * time.Second}
	quotas(t, IETF(), recorded{status: 200, headers: spent},
		caller.Quota{Metric: caller.Requests, Limit: 100, Period: time.Minute, Reset: 30 * time.Second},
		caller.Quota{Metric: "content-bytes", Limit: 1000, Period: 24 * time.Hour, Remaining: 50, Reset: time.Hour})
	quotas(t, IETF(), recorded{status: 200, headers: "RateLimit-Policy: \"burst\";q=100;w=60\nRateLimit: \"burst\";r=50;t=30"}, burst)
	quotas(t, IETF(), recorded{status: 200, headers: "RateLimit: limit=100, remaining=50, reset=30"},
		caller.Quota{Metric: caller.Requests, Limit: 100, Remaining: 50, Reset: 30 * time.Second})
	quotas(t, IETF(), recorded{status: 200, headers: `RateLimit: "burst";r=-1;t=30`})
}

// The reset has five forms.
func TestGeneric_ReadsEveryFormOfReset(t *testing.T) {
	limited := verdict(caller.Throttled, caller.ScopeAccount, 20*time.Second, "429")
	judge(t, Generic(), []recorded{
		{"seconds", 429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 20", "", limited},
		{"epoch", 429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1795176020", "", limited},
		{"epoch in ms", 429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1795176020000", "", limited},
		{"date", 429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: Fri, 20 Nov 2026 12:00:20 GMT", "", limited},
		{"not exhausted", 429, "X-RateLimit-Remaining: 1\nX-RateLimit-Reset: 20", "", verdict(caller.Throttled, caller.ScopeAccount, 0, "429")},
		{"Retry-After wins", 429, "X-RateLimit-Remaining: 0\nX-RateLimit-Reset: 90\nRetry-After: 20", "", limited},
		{"its own code", 429, "Retry-After: 20", `{"error":{"code":"busy"}}`, verdict(caller.Throttled, caller.ScopeAccount, 20*time.Second, "busy")},
		{"credit in a text", 400, "", `{"error":"no credit for insufficient_quota"}`, verdict(caller.ClientError, 0, 0, "400")},
	})
}

// The examples and the rules are those of RFC 9651, sections 3 and 4.2.
func TestParseList_FollowsRFC9651(t *testing.T) {
	for field, want := range map[string][]member{
		`sugar, tea, rum`:          {{name: "sugar"}, {name: "tea"}, {name: "rum"}},
		`abc;a=1;b=2; cde_456`:     {{name: "abc", params: params{"a": "1", "b": "2", "cde_456": "?1"}}},
		`"a \"b\" \\";q=1.5 ,	-3`:  {{name: `a "b" \`, params: params{"q": "1.5"}}, {name: "-3"}},
		`a=1, b="x";c=?0`:          {{name: "a", value: "1"}, {name: "b", value: "x", params: params{"c": "?0"}}},
		`:aGVsbG8=:;t=@1659578233`: {{name: "aGVsbG8=", params: params{"t": "@1659578233"}}},
		``:                         nil, `a,`: nil, `,a`: nil, `a b`: nil, `"a`: nil, `"a\n"`: nil, `a;`: nil, `a;q=`: nil, `:a`: nil, `a;Q=1`: nil, "a,\x00": nil,
	} {
		got := parseList([]string{field})
		if len(got) != len(want) {
			t.Errorf("%q: got %+v, want %+v", field, got, want)
			continue
		}
		for i := range want {
			if got[i].name != want[i].name || got[i].value != want[i].value || !maps.Equal(got[i].params, want[i].params) {
				t.Errorf("%q: got %+v, want %+v", field, got[i], want[i])
			}
		}
	}
	if got := parseList([]string{"a", "b"}); len(got) != 2 {
		t.Errorf("two lines: got %+v, want one list", got)
	}
}
