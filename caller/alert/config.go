package alert

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
)

// Config is how an Alerter judges and whom it notifies. All replicas of a pool need the same.
type Config struct {
	// Receivers get each alert and its end. At least one.
	Receivers []Receiver
	// Mute names rules that aren't judged.
	Mute []Rule
	// Window is the time over which failures, throttling and retries are counted. From 30 s to 5 min, as the history has
	// intervals of 30 s and lasts 15 min. Defaults to 1 min.
	Window time.Duration
	// FailureRate is the share of failed calls in the Window above which FailureRate fires. It ends at half of that. In (0, 1).
	// Defaults to 0.1.
	FailureRate float64
	// QuotaShare is the share of a quota from which Quota fires: of a daily limit, or one with a period of an hour or more. It
	// ends 5 % of the quota below. In (0.05, 1]. Defaults to 0.9.
	QuotaShare float64
	// MaxWait is how long a call may wait for admission until Waiting fires. It ends at half of that. At least 1 s. Defaults
	// to 30 s.
	MaxWait time.Duration
	// URL is where people see the pool, such as the address of the status page. It is part of alerts. Optional.
	URL string
	// Client sends the notifications. It must not follow redirects, which would show a secret URL to another host. Optional.
	Client *http.Client
	// Failed is called when a notification isn't accepted, or the pool can't be judged. Errors have no secrets. It is called
	// by one goroutine at a time. Optional.
	Failed func(context.Context, error)
}

// Rule is what an alert is about.
type Rule string

// Values of Rule.
const (
	FailureRate     Rule = "failure_rate"     // many calls fail
	Throttling      Rule = "throttling"       // more attempts than usual exceed a limit of the provider (429)
	Retries         Rule = "retries"          // more attempts than usual are repetitions
	KeyDisabled     Rule = "key_disabled"     // a key is out of use, for 30 s or by an operator
	AccountDisabled Rule = "account_disabled" // each of several keys of an account is out of use
	RedisDegraded   Rule = "redis_degraded"   // processes have trouble with Redis, for 20 s
	Quota           Rule = "quota"            // a quota is nearly used up
	Drift           Rule = "drift"            // processes are configured otherwise than most, for 2 min
	Waiting         Rule = "waiting"          // calls wait for long
)

var rules = []Rule{FailureRate, Throttling, Retries, KeyDisabled, AccountDisabled, RedisDegraded, Quota, Drift, Waiting}

// Bounds of Config.Window: an interval of a Fleet's History, and a third of it, so that a baseline is left.
const (
	minWindow = 30 * time.Second
	maxWindow = 5 * time.Minute
)

// fill sets the defaults.
func (c *Config) fill() {
	if c.Window == 0 {
		c.Window = time.Minute
	}
	if c.FailureRate == 0 {
		c.FailureRate = 0.1
	}
	if c.QuotaShare == 0 {
		c.QuotaShare = 0.9
	}
	if c.MaxWait == 0 {
		c.MaxWait = 30 * time.Second
	}
	if c.Client == nil {
		c.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
}

// completed returns the Config with its defaults, or an error that says everything that is wrong with it.
func (c Config) completed() (Config, error) {
	c.fill()
	var errs []error
	if len(c.Receivers) == 0 {
		errs = append(errs, errors.New("Receivers is empty: give at least one"))
	}
	if c.Window < minWindow || c.Window > maxWindow {
		errs = append(errs, fmt.Errorf("Window is %v: use %v to %v, as the history's intervals are of %v",
			c.Window, minWindow, maxWindow, minWindow))
	}
	if !(c.FailureRate > 0 && c.FailureRate < 1) {
		errs = append(errs, fmt.Errorf("FailureRate is %v: use a share between 0 and 1", c.FailureRate))
	}
	if !(c.QuotaShare > quotaMargin && c.QuotaShare <= 1) {
		errs = append(errs, fmt.Errorf("QuotaShare is %v: use a share above %v, up to 1", c.QuotaShare, quotaMargin))
	}
	if c.MaxWait < time.Second {
		errs = append(errs, fmt.Errorf("MaxWait is %v: use 1 s or more", c.MaxWait))
	}
	for _, r := range c.Mute {
		if !slices.Contains(rules, r) {
			errs = append(errs, fmt.Errorf("Mute has %q, which is no rule: use %q", r, rules))
		}
	}
	c.Receivers = slices.Clone(c.Receivers)
	names := map[string]int{}
	for i := range c.Receivers {
		r := &c.Receivers[i]
		if err := r.complete(); err != nil {
			errs = append(errs, fmt.Errorf("Receivers[%d]: %w", i, err))
		}
		if first, ok := names[r.Name]; ok {
			errs = append(errs, fmt.Errorf("Receivers[%d] has the Name %q of Receivers[%d]: give each its own", i, r.Name, first))
		}
		names[r.Name] = i
	}
	return c, errors.Join(errs...)
}

// secrets returns the texts that no message may hold.
func (c *Config) secrets() []string {
	var all []string
	for i := range c.Receivers {
		for _, s := range []caller.Secret{c.Receivers[i].URL, c.Receivers[i].Secret} {
			if text := s.Reveal(); text != "" {
				all = append(all, text)
			}
		}
	}
	return all
}

func percent(share float64) string {
	return fmt.Sprintf("%v %%", math.Round(share*1000)/10)
}
