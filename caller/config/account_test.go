package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

const twoKeys = "name: p\nbase_url: https://own.example/v1\nprovider: openai\n" +
	"keys: [{id: a, secret: one, account: org-a}, {id: b, secret: two}]\n"

// An account has its own places, models and limits; what it doesn't say is the pool's.
func TestParse_ReadsAccounts(t *testing.T) {
	t.Parallel()
	_, err := Parse("f", []byte(twoKeys+`
accounts:
  - id: org-a
    base_url: https://eu.example/openai/deployments/{model}
    query: {api-version: 2024-10-21}
    header: {x-token: "Bearer ${T}"}
    models: {gpt-5: eu-5, o*: }
    limits: [{metric: requests, rate: 6000, period: 60s}]
    concurrency: 20
    weight: 3
  - {id: b, models: [gpt-5]}
`), anything)
	if err == nil || !strings.Contains(err.Error(), "is empty; give it a value") {
		t.Fatalf("got %v for a model without a name, want an error", err)
	}
	p, err := Parse("f", []byte(twoKeys+`
accounts:
  - id: org-a
    base_url: https://eu.example/openai/deployments/{model}
    query: {api-version: 2024-10-21}
    header: {x-token: "Bearer ${T}"}
    models: {gpt-5: eu-5, "o*": ""}
    limits: [{metric: requests, rate: 6000, period: 60s}]
    concurrency: 20
    weight: 3
  - {id: b, models: [gpt-5]}
`), anything)
	if err != nil {
		t.Fatal(err)
	}
	value, _ := anything("T")
	want := []caller.Account{
		{
			ID: "org-a", BaseURL: "https://eu.example/openai/deployments/%7Bmodel%7D", Query: map[string][]string{"api-version": {"2024-10-21"}},
			Header: map[string][]string{"X-Token": {"Bearer " + value}}, Models: map[string]string{"gpt-5": "eu-5", "o*": ""},
			Limits:      []caller.Limit{{Metric: caller.Requests, Rate: 6000, Period: time.Minute, Algorithm: caller.Window, Scope: caller.PerAccount}},
			Concurrency: 20, Weight: 3,
		},
		{ID: "b", BaseURL: "https://own.example/v1", Models: map[string]string{"gpt-5": ""}},
	}
	if !reflect.DeepEqual(p.Caller.Accounts, want) || p.Caller.BaseURL != "https://own.example/v1" {
		t.Errorf("got  %+v\nwant %+v", p.Caller.Accounts, want)
	}
}

// Mistakes in accounts are reported where they stand.
func TestParse_RefusesMistakesInAccounts(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"accounts: [{id: x}]\n":                   "accounts[0]: no key has this account",
		"accounts: [{id: b}, {id: b}]\n":          "f:5:21: accounts[1]: another account has this id",
		"accounts: [{models: [m]}]\n":             "accounts[0]: id is missing; add it",
		"accounts: []\n":                          "accounts: is empty; name at least one",
		"accounts: [{id: b, models: []}]\n":       "accounts[0].models: is empty",
		"accounts: [{id: b, models: m}]\n":        "accounts[0].models: must be a mapping",
		"accounts: [{id: b, base_url: h}]\n":      "accounts[0].base_url: must be a full URL",
		"accounts: [{id: b, concurrency: 0}]\n":   "accounts[0].concurrency: must be a whole number from 1",
		"accounts: [{id: b, limts: []}]\n":        `accounts[0]: unknown field "limts"`,
		"accounts: [{id: b, header: {a: $T}}]\n":  "write ${T}",
		"accounts: [{id: b, query: {a: [1, 2]}}]": "accounts[0].query: must be a single value",
		"accounts: [{id: b, limits: [{metric: requests, rate: 1, period: 1s, scope: pool}]}]\n": "accounts[0].limits[0]: a limit of scope pool",
	} {
		if _, err := Parse("f", []byte(twoKeys+src), anything); !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q:\n got %v\nwant %s", src, err, want)
		}
	}
}
