package caller

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
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
	base    *url.URL // of requests; nil: scheme and host
	sites   sites
	metrics []Metric // that limits count; a call's units are by their index
	index   []int    // of each limit's metric
	params  []gcraParams
	ratios  estimate.Ratios // of used to estimated prompt tokens

	readsRequests bool // the profile reads the bodies of requests
	judgesBodies  bool // the profile reads the bodies of successes

	rules atomic.Pointer[rules] // that rule now; see ruling

	owners    []string        // of each limit in Limits, which has those of all accounts and then those of each; empty: all
	ownLimits bool            // an account has limits of its own
	limitIDs  map[string]bool // of the limits; see limitID
	tenants   []admission.Tenant
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// newSettings checks a Config and fills in its defaults. Its error names everything that is wrong.
func newSettings(cfg Config) (*settings, error) {
	cfg.Keys, cfg.Limits, cfg.Accounts = slices.Clone(cfg.Keys), slices.Clone(cfg.Limits), slices.Clone(cfg.Accounts)
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
	if cfg.Shadow {
		cfg.Breaker, cfg.Tuning.ContinueOnLeaseLoss = Breaker{}, true
		if cfg.Name != "" {
			cfg.Name += ".shadow"
		}
	}
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, DefaultIdleTimeout)
	p := &settings{
		Config:        cfg,
		readsRequests: cfg.Profile.Estimate != nil || cfg.Profile.Model != nil,
		judgesBodies:  cfg.Profile.Judge != nil,
	}
	p.Profile = cfg.Profile.withDefaults()
	adaptive := p.checkAdaptive()
	tenants, unfair := checkTenants(cfg.Tenants)
	p.tenants = tenants
	err := errors.Join(p.checkPool(), adaptive, unfair, p.checkSending(), checkKeys(cfg.Keys), p.addAccounts(), p.addLimits(), cfg.Retry.Validate())
	if err != nil {
		return nil, fmt.Errorf("caller: the configuration of pool %q: %w", cfg.Name, err)
	}
	p.rules.Store(&rules{limits: p.Limits, params: p.params, concurrency: p.Concurrency})
	return p, nil
}

// checkPool checks the settings of the pool and of Tuning.
func (p *settings) checkPool() error {
	var errs []error
	if p.Name == "" {
		errs = append(errs, errors.New("Name is empty: name the quota that the processes share"))
	}
	if p.RampUp < 0 {
		errs = append(errs, fmt.Errorf("RampUp is %v: use more than 0, or 0 for the whole pace at once", p.RampUp))
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

// addLimits checks the limits, those of accounts after those of all, and computes their parameters.
func (p *settings) addLimits() error {
	var errs []error
	var all []Limit
	seen := map[string]bool{}
	add := func(l Limit, account, at string) {
		l = l.withDefaults()
		params, err := l.gcraParams(p.Tuning.ArrivalJitter)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		}
		if account != "" && l.Scope == PerPool {
			errs = append(errs, fmt.Errorf("%s has the Scope pool: move it to Config.Limits", at))
		}
		if id := limitID(account, &l); seen[id] {
			errs = append(errs, fmt.Errorf("%s is another limit on %s per %v for each %s: keep the lower one", at, l.Metric, l.Period, l.Scope))
		} else {
			seen[id] = true
		}
		metric := slices.Index(p.metrics, l.Metric)
		if metric < 0 {
			metric = len(p.metrics)
			p.metrics = append(p.metrics, l.Metric)
		}
		all, p.owners = append(all, l), append(p.owners, account)
		p.params, p.index = append(p.params, params), append(p.index, metric)
	}
	for i, l := range p.Limits {
		add(l, "", fmt.Sprintf("Limits[%d]", i))
	}
	for i := range p.Accounts {
		for j, l := range p.Accounts[i].Limits {
			add(l, p.Accounts[i].ID, fmt.Sprintf("Limits[%d] of account %q", j, p.Accounts[i].ID))
		}
	}
	p.ownLimits = len(all) > len(p.Limits)
	p.Limits = all
	p.limitIDs = seen
	return errors.Join(errs...)
}

// limitID identifies a limit of an account, or of every account.
func limitID(account string, l *Limit) string {
	return account + "\x00" + string(l.Scope) + " " + l.name()
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
		Pool: p.Name, Session: p.Tuning.SessionName, SessionTTL: p.Tuning.SessionTTL, Accounts: p.accountsOf(p.Keys),
		Metrics: len(p.metrics), Concurrency: p.Concurrency, Strategy: admission.Strategy(p.Strategy),
		ArrivalJitter: p.Tuning.ArrivalJitter, Horizon: p.Tuning.Horizon, Aging: p.Tuning.Aging, MaxWaiting: p.Tuning.MaxWaiting,
		ContinueOnLeaseLoss: p.Tuning.ContinueOnLeaseLoss, Observer: observer, Limits: p.admissionLimits(p.ruling()),
		ReadLimits: p.readLimits, RampUp: p.RampUp, Tenants: p.tenants,
	}
	if a := p.Adaptive; a != nil {
		cfg.Adaptive = &admission.Adaptive{
			Gradient: a.Gradient, Min: int64(a.Min), Initial: int64(a.Initial), Backoff: a.Backoff, Every: a.Window,
			Tolerance: a.Tolerance, Smoothing: a.Smoothing, Queue: a.Queue,
		}
	}
	return cfg
}

// admissionLimits returns the limits as admission wants them.
func (p *settings) admissionLimits(r *rules) []admission.Limit {
	out := make([]admission.Limit, 0, len(r.limits))
	for i, l := range r.limits {
		params := &r.params[i]
		its := admission.Limit{
			Name: params.name, Scope: admission.Scope(l.Scope), Account: p.owners[i], Metric: p.index[i],
			Interval: params.interval, Burst: params.burst, Grows: params.grows,
			Rate: l.Rate, Usable: l.Usable(), Period: l.Period, Models: l.Models,
		}
		if l.Algorithm == Daily {
			its.NextReset = l.nextReset
		}
		out = append(out, its)
	}
	return out
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
	if !p.ownLimits {
		return units, p.exceeded(units, model, "")
	}
	return units, nil
}

// exceeded returns an *Error for the first limit that a call can never meet, in an account if that isn't empty.
func (p *settings) exceeded(units []int64, model, account string) error {
	limits := p.ruling().limits
	for i := range limits {
		l, n := &limits[i], units[p.index[i]]
		if n >= 0 && (n <= l.Usable() || !l.counts(model) || !p.applies(i, account)) {
			continue
		}
		err := &Error{Pool: p.Name, Metric: l.Metric, Limit: l.Usable(), Cost: n, Err: ErrNeverFits}
		if n < 0 {
			err.Err = errNegativeCost
		}
		return err
	}
	return nil
}

// applies reports whether an account has a limit: its own ones, and those of all that it has no own one in place of.
func (p *settings) applies(limit int, account string) bool {
	if owner := p.owners[limit]; owner != "" {
		return owner == account
	}
	return account == "" || !p.limitIDs[limitID(account, &p.Limits[limit])]
}

// tooSmall returns the accounts whose limits a call can never meet, or an *Error if it meets those of no account.
func (p *settings) tooSmall(units []int64, model string, accounts []string) (exclude []string, err error) {
	if !p.ownLimits {
		return nil, nil
	}
	for _, id := range accounts {
		if failure := p.exceeded(units, model, id); failure != nil {
			exclude, err = append(exclude, id), failure
		}
	}
	if len(exclude) < len(accounts) {
		err = nil
	}
	return exclude, err
}
