package apisim

import (
	"errors"
	"fmt"
	"time"
)

// Config is the configuration of Start. The YAML names are those of the file that cmd/apisim reads.
type Config struct {
	// Addr is where to listen. Defaults to a free port of 127.0.0.1.
	Addr string `yaml:"addr"`
	// Accounts hold the keys and the limits. At least one is required.
	Accounts []Account `yaml:"accounts"`
	// Latency of an answer. Defaults to none.
	Latency Latency `yaml:"latency"`
	// Failures to inject. Defaults to none.
	Failures Failures `yaml:"failures"`
	// FailuresAreFree leaves injected 500 and 503 answers out of the limits. By default they count, as at OpenAI.
	FailuresAreFree bool `yaml:"failures_are_free"`
	// ThrottledCount makes refused requests (429) count against the limits of requests too. By default they don't.
	ThrottledCount bool `yaml:"throttled_count"`
	// CutAt is the number of bytes of an answer after which Cut and Stall end it. Defaults to 0: half of it.
	CutAt int `yaml:"cut_at"`
	// Compress answers with gzip where the client accepts it. Defaults to false.
	Compress bool `yaml:"compress"`
	// Settle corrects what limits of tokens counted for a call to its usage, when its answer is complete. By default the
	// estimate stands, as at OpenAI.
	Settle bool `yaml:"settle"`
	// Seed decides which calls fail and how long each takes: the same calls, by their IDs, get the same fate.
	Seed uint64 `yaml:"seed"`
	// OnAdmit is called after each admission with the number of admissions so far, from 1, outside of all locks. A test
	// revokes a key in the middle of a run here. It may be called concurrently. Optional.
	OnAdmit func(total int64) `yaml:"-"`
}

// Account is what has the limits: the keys of one account share them.
type Account struct {
	ID     string  `yaml:"id"`
	Keys   []Key   `yaml:"keys"`
	Limits []Limit `yaml:"limits"`
	// Concurrency is the most calls in flight; 0 means no limit.
	Concurrency int `yaml:"concurrency"`
	// Models are those that the account has; others are refused with 404 model_not_found. Empty means all.
	Models []string `yaml:"models"`
	// Region is the first segment of the paths at which the account is served: /eu/v1/chat/completions. Elsewhere its
	// calls are refused with 404 DeploymentNotFound. Empty means everywhere.
	Region string `yaml:"region"`
}

// Key is one API key. The ledger names it by its ID only.
type Key struct {
	ID     string `yaml:"id"`
	Secret string `yaml:"secret"`
}

// Metric is what a limit counts.
type Metric string

// The metrics that a limit may count.
const (
	Requests Metric = "requests"
	Tokens   Metric = "tokens"
)

// Limit allows at most Limit units in any half-open window (t-Per, t].
type Limit struct {
	Metric Metric        `yaml:"metric"`
	Limit  int64         `yaml:"limit"`
	Per    time.Duration `yaml:"per"`
	// Model restricts the limit to calls of one model. Empty means all.
	Model string `yaml:"model"`
	// PerModel gives each model a limit of its own. Model is empty then.
	PerModel bool `yaml:"per_model"`
}

// Latency is uniformly distributed between Min and Max. Max may be left out for a fixed one.
type Latency struct {
	Min time.Duration `yaml:"min" json:"min"`
	Max time.Duration `yaml:"max" json:"max"`
}

func (c *Config) validate() error {
	if len(c.Accounts) == 0 {
		return errors.New("apisim: Config.Accounts is empty; give at least one account")
	}
	accounts, keys, secrets := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, a := range c.Accounts {
		if a.ID == "" || accounts[a.ID] {
			return fmt.Errorf("apisim: account ID %q is empty or used twice", a.ID)
		}
		accounts[a.ID] = true
		if a.Concurrency < 0 {
			return fmt.Errorf("apisim: account %q: Concurrency %d is negative; use 0 for no limit", a.ID, a.Concurrency)
		}
		for _, k := range a.Keys {
			if k.ID == "" || keys[k.ID] || k.Secret == "" || secrets[k.Secret] {
				return fmt.Errorf("apisim: account %q: key %q needs an ID and a secret that no other key has", a.ID, k.ID)
			}
			keys[k.ID], secrets[k.Secret] = true, true
		}
		for _, l := range a.Limits {
			if err := l.validate(); err != nil {
				return fmt.Errorf("apisim: account %q: %w", a.ID, err)
			}
		}
	}
	if c.CutAt < 0 {
		return fmt.Errorf("apisim: CutAt %d is negative; use 0 for half of an answer", c.CutAt)
	}
	if err := c.Latency.validate(); err != nil {
		return err
	}
	return c.Failures.validate()
}

func (l Limit) validate() error {
	if l.Metric != Requests && l.Metric != Tokens {
		return fmt.Errorf("limit of %q: the metric must be %q or %q", l.Metric, Requests, Tokens)
	}
	if l.PerModel && l.Model != "" {
		return fmt.Errorf("limit of %s: PerModel and Model %q exclude each other; leave one out", l.Metric, l.Model)
	}
	if l.Limit <= 0 || l.Per <= 0 {
		return fmt.Errorf("limit of %s: %d per %v; both must be positive", l.Metric, l.Limit, l.Per)
	}
	return nil
}

func (l Latency) validate() error {
	if l.Min < 0 || (l.Max != 0 && l.Max < l.Min) {
		return fmt.Errorf("apisim: latency from %v to %v: must be 0 <= min <= max", l.Min, l.Max)
	}
	return nil
}
