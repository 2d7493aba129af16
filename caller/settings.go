package caller

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
	"github.com/penstock/penstock/caller/internal/estimate"
)

// DefaultIdleTimeout is the default of Config.IdleTimeout.
const DefaultIdleTimeout = 2 * time.Minute

// DefaultTimeout is the default of Config.Timeout, for calls whose context has no deadline.
const DefaultTimeout = 10 * time.Minute

// Defaults of Tuning.
const (
	DefaultArrivalJitter = 100 * time.Millisecond
	DefaultHorizon       = 200 * time.Millisecond
	DefaultSessionTTL    = 10 * time.Second
	DefaultMaxWaiting    = 100_000
	DefaultAging         = 30 * time.Second
	DefaultMaxRejection  = time.Hour
)

// settings are a Config that has been checked, with its defaults filled in.
type settings struct {
	Config
	metrics []Metric // that limits count; a call's units are by their index
	index   []int    // of each limit's metric
	params  []gcraParams
	ratios  estimate.Ratios // of used to estimated prompt tokens

	readsRequests bool // the profile reads the bodies of requests
	judgesBodies  bool // the profile reads the bodies of successes
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// newSettings checks a Config and fills in its defaults. Its error names everything that is wrong.
func newSettings(cfg Config) (*settings, error) {
	cfg.Keys, cfg.Limits = slices.Clone(cfg.Keys), slices.Clone(cfg.Limits)
	cfg.Tuning.ArrivalJitter = cmp.Or(cfg.Tuning.ArrivalJitter, DefaultArrivalJitter)
	cfg.Tuning.Horizon = cmp.Or(cfg.Tuning.Horizon, DefaultHorizon)
	cfg.Tuning.SessionTTL = cmp.Or(cfg.Tuning.SessionTTL, DefaultSessionTTL)
	cfg.Tuning.MaxWaiting = cmp.Or(cfg.Tuning.MaxWaiting, DefaultMaxWaiting)
	cfg.Tuning.MaxRejection = cmp.Or(cfg.Tuning.MaxRejection, DefaultMaxRejection)
	cfg.Tuning.Aging = cmp.Or(cfg.Tuning.Aging, DefaultAging)
	cfg.Strategy = cmp.Or(cfg.Strategy, LeastLoaded)
	if cfg.Tuning.SessionName == "" {
		host, _ := os.Hostname()
		cfg.Tuning.SessionName = host + "-" + strconv.Itoa(os.Getpid())
	}
	// A suffix keeps the sessions of equal names apart.
	cfg.Tuning.SessionName += "~" + strconv.FormatUint(rand.Uint64(), 36)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, DefaultIdleTimeout)
	p := &settings{
		Config:        cfg,
		readsRequests: cfg.Profile.Estimate != nil || cfg.Profile.Model != nil,
		judgesBodies:  cfg.Profile.Judge != nil,
	}
	p.Profile = cfg.Profile.withDefaults()
	adaptive := p.checkAdaptive()
	err := errors.Join(p.checkPool(), adaptive, p.checkSending(), checkKeys(cfg.Keys), p.addLimits(), cfg.Retry.Validate())
	if err != nil {
		return nil, fmt.Errorf("caller: the configuration of pool %q: %w", cfg.Name, err)
	}
	return p, nil
}

// checkPool checks the settings of the pool and of Tuning.
func (p *settings) checkPool() error {
	var errs []error
	if p.Name == "" {
		errs = append(errs, errors.New("Name is empty: name the quota that the processes share"))
	}
	if p.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("Concurrency is %d: use the provider's limit, or 0 for none", p.Concurrency))
	}
	if p.Tuning.ArrivalJitter < 0 {
		errs = append(errs, fmt.Errorf("Tuning.ArrivalJitter is %v: use 0 for the default of %v, or more",
			p.Tuning.ArrivalJitter, DefaultArrivalJitter))
	}
	if p.Tuning.Horizon < 0 {
		errs = append(errs, fmt.Errorf("Tuning.Horizon is %v: use 0 for the default of %v, or more", p.Tuning.Horizon, DefaultHorizon))
	}
	if p.Tuning.SessionTTL < time.Second {
		errs = append(errs, fmt.Errorf("Tuning.SessionTTL is %v: use 0 for the default of %v, or at least 1s",
			p.Tuning.SessionTTL, DefaultSessionTTL))
	}
	if p.Tuning.MaxWaiting < 0 {
		errs = append(errs, fmt.Errorf("Tuning.MaxWaiting is %d: use 0 for the default of %d, or more", p.Tuning.MaxWaiting, DefaultMaxWaiting))
	}
	if p.Tuning.Aging < 0 {
		errs = append(errs, fmt.Errorf("Tuning.Aging is %v: use 0 for the default of %v, or more", p.Tuning.Aging, DefaultAging))
	}
	if p.Tuning.MaxRejection < 0 {
		errs = append(errs, fmt.Errorf("Tuning.MaxRejection is %v: use 0 for the default of %v, or more",
			p.Tuning.MaxRejection, DefaultMaxRejection))
	}
	if !p.Strategy.known() {
		errs = append(errs, fmt.Errorf("Strategy is %q: use least_loaded, round_robin or first_available", p.Strategy))
	}
	return errors.Join(errs...)
}

// addLimits checks the limits and computes their parameters.
func (p *settings) addLimits() error {
	var errs []error
	seen := map[string]bool{}
	for i, l := range p.Limits {
		l = l.withDefaults()
		p.Limits[i] = l
		params, err := l.gcraParams(p.Tuning.ArrivalJitter)
		if err != nil {
			errs = append(errs, fmt.Errorf("Limits[%d]: %w", i, err))
		}
		name := l.id()
		if seen[name] {
			errs = append(errs, fmt.Errorf("Limits[%d] is another limit on %s per %v for each %s: keep the lower one",
				i, l.Metric, l.Period, l.Scope))
		}
		seen[name] = true
		p.params = append(p.params, params)
		at := slices.Index(p.metrics, l.Metric)
		if at < 0 {
			at = len(p.metrics)
			p.metrics = append(p.metrics, l.Metric)
		}
		p.index = append(p.index, at)
	}
	return errors.Join(errs...)
}

// checkAdaptive checks the configuration of an adaptive limit and fills in its defaults.
func (p *settings) checkAdaptive() error {
	if p.Adaptive == nil {
		return nil
	}
	if p.Concurrency < 1 {
		return errors.New("Adaptive is set without Concurrency: set the most calls that an account may have in flight")
	}
	a, err := p.Adaptive.Checked(p.Concurrency, p.Tuning.SessionTTL)
	p.Adaptive = &a
	if err != nil {
		return fmt.Errorf("Adaptive: %w", err)
	}
	return nil
}

// checkSending checks the settings of attempts.
func (p *settings) checkSending() error {
	var errs []error
	if p.AttemptTimeout < 0 {
		errs = append(errs, fmt.Errorf("AttemptTimeout is %v: use more than 0, or 0 for none", p.AttemptTimeout))
	}
	if p.MaxHold < 0 {
		errs = append(errs, fmt.Errorf("MaxHold is %v: use more than 0, or 0 for none", p.MaxHold))
	}
	return errors.Join(append(errs, p.Breaker.check(), p.Hedge.check())...)
}

// admission returns the settings as admission wants them.
func (p *settings) admission(observer admission.Observer) admission.Config {
	cfg := admission.Config{
		Pool: p.Name, Session: p.Tuning.SessionName, SessionTTL: p.Tuning.SessionTTL, Accounts: accountsOf(p.Name, p.Keys),
		Metrics: len(p.metrics), Concurrency: p.Concurrency, Strategy: admission.Strategy(p.Strategy),
		ArrivalJitter: p.Tuning.ArrivalJitter, Horizon: p.Tuning.Horizon, Aging: p.Tuning.Aging, MaxWaiting: p.Tuning.MaxWaiting,
		ContinueOnLeaseLoss: p.Tuning.ContinueOnLeaseLoss, Observer: observer,
	}
	if a := p.Adaptive; a != nil {
		cfg.Adaptive = &admission.Adaptive{
			Gradient: a.Gradient, Min: int64(a.Min), Initial: int64(a.Initial), Backoff: a.Backoff, Every: a.Window,
			Tolerance: a.Tolerance, Smoothing: a.Smoothing, Queue: a.Queue,
		}
	}
	for i, l := range p.Limits {
		params := &p.params[i]
		its := admission.Limit{
			Name: params.name, Scope: admission.Scope(l.Scope), Metric: p.index[i],
			Interval: params.interval, Burst: params.burst, Grows: params.grows,
			Rate: l.Rate, Usable: l.Usable(), Period: l.Period, Models: l.Models,
		}
		if l.Algorithm == Daily {
			its.NextReset = l.nextReset
		}
		cfg.Limits = append(cfg.Limits, its)
	}
	return cfg
}

// units returns what a call takes of each metric, or an *Error that matches ErrNeverFits.
func (p *settings) units(c Cost, model string) ([]int64, error) {
	units := make([]int64, len(p.metrics))
	for i, m := range p.metrics {
		n, ok := c[m]
		if !ok && m == Requests {
			n = 1
		}
		units[i] = n
	}
	for i, l := range p.Limits {
		n := units[p.index[i]]
		if n >= 0 && (n <= l.Usable() || !l.counts(model)) {
			continue
		}
		err := &Error{Pool: p.Name, Metric: l.Metric, Limit: l.Usable(), Cost: n, Err: ErrNeverFits}
		if n < 0 {
			err.Err = errNegativeCost
		}
		return nil, err
	}
	return units, nil
}
