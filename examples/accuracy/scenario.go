package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/retry"
)

// scenario describes a run: the limits of each account, the provider's failures, and the callers' load. A child process
// gets it as JSON.
type scenario struct {
	Name        string          `json:"name"`
	Per         time.Duration   `json:"per_ns"`
	Requests    int64           `json:"requests"` // per account and Per
	Tokens      int64           `json:"tokens"`   // per account and Per
	Concurrency int             `json:"concurrency"`
	Latency     apisim.Latency  `json:"latency"`
	Failures    apisim.Failures `json:"failures"`
	// Trouble revokes a key, ends an account's credit, and makes another client use half of another account.
	Trouble bool `json:"trouble"`
	// AttemptTimeout ends attempts that hang.
	AttemptTimeout time.Duration `json:"attempt_timeout_ns"`
	// Urgent is the number of calls of PriorityHigh that all processes make together, and also that of PriorityNormal, per
	// second. The callers make calls of PriorityLow.
	Urgent float64 `json:"urgent"`
}

// Bounds of the cost of a call in tokens, which is evenly distributed. The limits on tokens are wide enough that requests
// are the bottleneck.
const leastTokens, mostTokens = 20, 60

// scenarios are sized for two cores that are far from busy, because they measure how exact admission is, not how fast.
var scenarios = []scenario{
	{
		Name: "steady", Per: 10 * time.Second, Requests: 150, Tokens: 150 * 52, Concurrency: 8,
		Latency:        apisim.Latency{Min: 50 * time.Millisecond, Max: 300 * time.Millisecond},
		AttemptTimeout: 10 * time.Second, Urgent: 6,
	},
	{
		Name: "faults", Per: time.Second, Requests: 50, Tokens: 50 * 52, Concurrency: 24,
		Latency:  apisim.Latency{Min: 50 * time.Millisecond, Max: 300 * time.Millisecond},
		Failures: apisim.Failures{Overloaded: 0.02, Hang: 0.01}, Trouble: true,
		AttemptTimeout: 1500 * time.Millisecond, Urgent: 20,
	},
}

// keys are ten keys in six accounts.
var keys = []struct{ id, account string }{
	{"a1", "org-a"}, {"a2", "org-a"}, {"b1", "org-b"}, {"b2", "org-b"}, {"c1", "org-c"}, {"c2", "org-c"},
	{"d1", "org-d"}, {"d2", "org-d"}, {"e1", "org-e"}, {"f1", "org-f"},
}

// The key and accounts of a scenario's trouble.
const (
	revokedKey     = "b2"
	brokeAccount   = "org-e"
	foreignAccount = "org-f"
)

func secret(key string) string { return "sk-accuracy-" + key }

// provider returns what the simulated provider enforces.
func (s *scenario) provider() apisim.Config {
	cfg := apisim.Config{Latency: s.Latency, Failures: s.Failures}
	index := map[string]int{}
	for _, k := range keys {
		at, ok := index[k.account]
		if !ok {
			at = len(cfg.Accounts)
			index[k.account] = at
			cfg.Accounts = append(cfg.Accounts, apisim.Account{
				ID: k.account, Concurrency: s.Concurrency,
				Limits: []apisim.Limit{
					{Metric: apisim.Requests, Limit: s.Requests, Per: s.Per}, {Metric: apisim.Tokens, Limit: s.Tokens, Per: s.Per},
				},
			})
		}
		cfg.Accounts[at].Keys = append(cfg.Accounts[at].Keys, apisim.Key{ID: k.id, Secret: secret(k.id)})
	}
	return cfg
}

// pool returns the configuration of every process's Pool: the provider's limits, and defaults.
func (s *scenario) pool(name string) caller.Config {
	cfg := caller.Config{
		Name: name, Profile: provider.OpenAI(), Concurrency: s.Concurrency, Retry: s.retries(),
		Limits: []caller.Limit{
			{Metric: caller.Requests, Rate: s.Requests, Period: s.Per}, {Metric: caller.Tokens, Rate: s.Tokens, Period: s.Per},
		},
	}
	for _, k := range keys {
		cfg.Keys = append(cfg.Keys, caller.Key{ID: k.id, Secret: caller.NewSecret(secret(k.id)), Account: k.account})
	}
	return cfg
}

// retries is the retry policy of both senders.
func (s *scenario) retries() retry.Policy { return retry.Policy{Attempts: 10} }

// slot is the time between two send times on one account.
func (s *scenario) slot() time.Duration {
	return (s.Per + caller.DefaultArrivalJitter) / time.Duration(s.Requests)
}

// task is a child process's part of a run.
type task struct {
	Scenario  scenario `json:"scenario"`
	Redis     string   `json:"redis"`    // URL
	Provider  string   `json:"provider"` // URL
	Pool      string   `json:"pool"`
	Process   int      `json:"process"`
	Processes int      `json:"processes"`
	Callers   int      `json:"callers"`
	RedisRate bool     `json:"redis_rate"`
}

// poolName is new for each run, because the Redis may outlive it.
func poolName() string { return "accuracy-" + rand.Text() }

// chosen returns the scenarios of a name.
func chosen(name string) ([]scenario, error) {
	if name == "all" {
		return scenarios, nil
	}
	for _, s := range scenarios {
		if s.Name == name {
			return []scenario{s}, nil
		}
	}
	return nil, fmt.Errorf("-scenario is %q: use steady, faults or all", name)
}
