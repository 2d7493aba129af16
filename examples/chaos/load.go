package main

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/caller"
	profile "github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/examples/internal/ledger"
	"github.com/penstock/penstock/examples/internal/recorder"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/retry"
)

// load is what the provider allows and how the pool is set up. Requests and permits both bind: an account's permits
// allow Concurrency/mean latency calls a second, which is about its limit of requests.
type load struct {
	Accounts       int
	Requests       int64 // of each account in each Period
	Tokens         int64
	Period         time.Duration
	Concurrency    int // of each account
	LatencyMin     time.Duration
	LatencyMax     time.Duration
	SessionTTL     time.Duration
	AttemptTimeout time.Duration
	CallTimeout    time.Duration   // of each call; 0: bulkTimeout or urgentTimeout
	Attempts       int             // of each call at most; 0: the pool's default
	Failures       apisim.Failures // that calls meet
	SampleEvery    time.Duration   // between two samples of a worker's memory; 0: none is taken
}

var defaultLoad = load{
	Accounts: 4, Requests: 60, Tokens: 60 * 75, Period: 2 * time.Second, Concurrency: 10,
	LatencyMin: 150 * time.Millisecond, LatencyMax: 550 * time.Millisecond,
	SessionTTL: 3 * time.Second, AttemptTimeout: 6 * time.Second,
}

func account(n int) string { return fmt.Sprintf("org-%d", n) }

// keyIDs returns the IDs of an account's two keys.
func keyIDs(n int) []string { return []string{fmt.Sprintf("k%d-a", n), fmt.Sprintf("k%d-b", n)} }

func secret(keyID string) string { return "sk-sim-" + keyID }

// provider is the configuration of the simulated provider.
func (l *load) provider() apisim.Config {
	cfg := apisim.Config{Latency: apisim.Latency{Min: l.LatencyMin, Max: l.LatencyMax}, Failures: l.Failures}
	for n := range l.Accounts {
		a := apisim.Account{ID: account(n), Concurrency: l.Concurrency, Limits: []apisim.Limit{
			{Metric: apisim.Requests, Limit: l.Requests, Per: l.Period}, {Metric: apisim.Tokens, Limit: l.Tokens, Per: l.Period},
		}}
		for _, id := range keyIDs(n) {
			a.Keys = append(a.Keys, apisim.Key{ID: id, Secret: secret(id)})
		}
		cfg.Accounts = append(cfg.Accounts, a)
	}
	return cfg
}

// pool is the configuration of the pool, of which the driver and every worker are members.
func (l *load) pool(name, session string) caller.Config {
	cfg := caller.Config{
		Name: name, Profile: profile.OpenAI(), Concurrency: l.Concurrency, AttemptTimeout: l.AttemptTimeout,
		Whole: true, // so that an answer that is cut or stalls is tried again
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: l.Requests, Period: l.Period}, {Metric: caller.Tokens, Rate: l.Tokens, Period: l.Period},
		},
		Tuning: caller.Tuning{SessionTTL: l.SessionTTL, SessionName: session},
		Retry:  retry.Policy{Attempts: l.Attempts},
	}
	for n := range l.Accounts {
		for _, id := range keyIDs(n) {
			cfg.Keys = append(cfg.Keys, caller.Key{ID: id, Secret: caller.NewSecret(secret(id)), Account: account(n)})
		}
	}
	return cfg
}

// secrets is what the recorder knows of the keys.
func (l *load) secrets() map[string]recorder.Key {
	keys := map[string]recorder.Key{}
	for n := range l.Accounts {
		for _, id := range keyIDs(n) {
			keys[secret(id)] = recorder.Key{ID: id, Account: account(n)}
		}
	}
	return keys
}

// limits is what the ledger judges by.
func (l *load) limits() []ledger.Limit {
	return []ledger.Limit{
		{Metric: "requests", Units: l.Requests, Period: l.Period}, {Metric: "tokens", Units: l.Tokens, Period: l.Period},
	}
}
