package apisim

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Config says what Start runs. The YAML names are those of the file that cmd/apisim reads.
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
	// Seed decides which calls fail and how long each takes: the same calls, by their IDs, get the same failure and latency.
	Seed uint64 `yaml:"seed"`
	// OnAdmit, if set, is called after each admission with the number of admissions so far, from 1, outside of
	// all locks, for example to revoke a key in the middle of a run. It may be called concurrently.
	OnAdmit func(total int64) `yaml:"-"`
}

// Account is what the limits are counted for: the keys of one account share them.
type Account struct {
	ID     string  `yaml:"id"`
	Keys   []Key   `yaml:"keys"`
	Limits []Limit `yaml:"limits"`
	// Concurrency is the most calls in flight; 0 means no limit.
	Concurrency int `yaml:"concurrency"`
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
}

// Latency is uniformly distributed between Min and Max. Max may be left out for a fixed one.
type Latency struct {
	Min time.Duration `yaml:"min" json:"min"`
	Max time.Duration `yaml:"max" json:"max"`
}

// Failures are the shares, 0 to 1, of the admitted calls that get each failure. Their sum is at most 1.
type Failures struct {
	// Overloaded answers 503 at once.
	Overloaded float64 `yaml:"overloaded"`
	// Error answers 500 at once.
	Error float64 `yaml:"error"`
	// Reset serves the call, then resets the connection in place of the answer.
	Reset float64 `yaml:"reset"`
	// Cut serves the call, and resets the connection in the middle of the answer.
	Cut float64 `yaml:"cut"`
	// Hang never answers: it ends when the client gives up.
	Hang float64 `yaml:"hang"`
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
	if err := c.Latency.validate(); err != nil {
		return err
	}
	return c.Failures.validate()
}

func (l Limit) validate() error {
	if l.Metric != Requests && l.Metric != Tokens {
		return fmt.Errorf("limit of %q: the metric must be %q or %q", l.Metric, Requests, Tokens)
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

func (f Failures) validate() error {
	sum := 0.0
	for _, k := range kinds {
		rate := *f.rate(k)
		if !(rate >= 0 && rate <= 1) { // NaN fails, too
			return fmt.Errorf("apisim: failure rate %v of %q: must be from 0 to 1", rate, k)
		}
		sum += rate
	}
	if sum > 1 {
		return fmt.Errorf("apisim: failure rates sum up to %v, more than 1", sum)
	}
	return nil
}

// Kind is a kind of injected failure.
type Kind string

// The kinds of failure; see Failures.
const (
	Overloaded Kind = "overloaded"
	Error      Kind = "error"
	Reset      Kind = "reset"
	Cut        Kind = "cut"
	Hang       Kind = "hang"
)

var kinds = [...]Kind{Overloaded, Error, Reset, Cut, Hang}

// rate returns the field of a kind, nil if there is none.
func (f *Failures) rate(k Kind) *float64 {
	switch k {
	case Overloaded:
		return &f.Overloaded
	case Error:
		return &f.Error
	case Reset:
		return &f.Reset
	case Cut:
		return &f.Cut
	case Hang:
		return &f.Hang
	default:
		return nil
	}
}

// status is the HTTP status of a failure that is answered at once; 0 for the others.
func (k Kind) status() int {
	switch k {
	case Overloaded:
		return http.StatusServiceUnavailable
	case Error:
		return http.StatusInternalServerError
	default:
		return 0
	}
}
