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
	"strings"
	"time"
)

// Defaults of Config.
const (
	DefaultArrivalJitter = 100 * time.Millisecond
	DefaultHorizon       = 200 * time.Millisecond
	DefaultSessionTTL    = 10 * time.Second
	// DefaultMaxWaiting is how many calls of a process may wait.
	DefaultMaxWaiting = 100_000
	// DefaultAging is how long a call waits until it counts as a priority higher.
	DefaultAging = 30 * time.Second
)

// plan is a Config checked, with its defaults filled in, in the form that admission works on.
type plan struct {
	Config
	accounts    []*account
	metrics     []Metric
	paces       []pace // by limit
	index       []int  // by limit, of its metric
	keyLimits   bool   // some limit is each key's own
	modelLimits bool   // some limit tells models apart
	prompts     calibration
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// newPlan checks a Config. The error says everything that is wrong, and what to change.
func newPlan(cfg Config) (*plan, error) {
	cfg.Keys, cfg.Limits = slices.Clone(cfg.Keys), slices.Clone(cfg.Limits)
	cfg.Tuning.ArrivalJitter = cmp.Or(cfg.Tuning.ArrivalJitter, DefaultArrivalJitter)
	cfg.Tuning.Horizon = cmp.Or(cfg.Tuning.Horizon, DefaultHorizon)
	cfg.Tuning.SessionTTL = cmp.Or(cfg.Tuning.SessionTTL, DefaultSessionTTL)
	cfg.Tuning.MaxWaiting = cmp.Or(cfg.Tuning.MaxWaiting, DefaultMaxWaiting)
	cfg.Tuning.Aging = cmp.Or(cfg.Tuning.Aging, DefaultAging)
	cfg.Strategy = cmp.Or(cfg.Strategy, LeastLoaded)
	if cfg.Tuning.SessionName == "" {
		host, _ := os.Hostname()
		cfg.Tuning.SessionName = host + "-" + strconv.Itoa(os.Getpid())
	}
	// Two sessions never have the same name, whatever the processes are called.
	cfg.Tuning.SessionName += "~" + strconv.FormatUint(rand.Uint64(), 36)
	cfg.Profile = cfg.Profile.withDefaults()
	p := &plan{Config: cfg}
	adaptive := p.checkAdaptive()
	accounts, err := accountsOf(cfg.Keys)
	p.accounts = accounts
	err = errors.Join(p.checkPool(), adaptive, p.checkSending(), err, p.addLimits(), cfg.Retry.Validate())
	if err != nil {
		return nil, fmt.Errorf("caller: the configuration of pool %q: %w", cfg.Name, err)
	}
	return p, nil
}

func (p *plan) checkPool() error {
	var errs []error
	if p.Name == "" {
		errs = append(errs, errors.New("Pool is empty: name the quota that the processes share"))
	}
	if p.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("Concurrency is %d: use the provider's limit, or 0 for none", p.Concurrency))
	}
	if p.Tuning.ArrivalJitter < 0 {
		errs = append(errs, fmt.Errorf("Slack is %v: use 0 for the default of %v, or more", p.Tuning.ArrivalJitter, DefaultArrivalJitter))
	}
	if p.Tuning.Horizon < 0 {
		errs = append(errs, fmt.Errorf("Horizon is %v: use 0 for the default of %v, or more", p.Tuning.Horizon, DefaultHorizon))
	}
	if p.Tuning.SessionTTL < time.Second {
		errs = append(errs, fmt.Errorf("TTL is %v: use 0 for the default of %v, or at least 1s", p.Tuning.SessionTTL, DefaultSessionTTL))
	}
	if p.Tuning.MaxWaiting < 0 {
		errs = append(errs, fmt.Errorf("MaxWaiting is %d: use 0 for the default of %d, or more", p.Tuning.MaxWaiting, DefaultMaxWaiting))
	}
	if p.Tuning.Aging < 0 {
		errs = append(errs, fmt.Errorf("Aging is %v: use 0 for the default of %v, or more", p.Tuning.Aging, DefaultAging))
	}
	if p.Strategy.script() == "" {
		errs = append(errs, fmt.Errorf("the Strategy %q is unknown: use least_loaded, round_robin or first_available", p.Strategy))
	}
	return errors.Join(errs...)
}

// accountsOf checks keys and puts them to their accounts, in order.
func accountsOf(all []Key) ([]*account, error) {
	if len(all) == 0 {
		return nil, errors.New("Keys is empty: give at least one API key")
	}
	var errs []error
	var accounts []*account
	keys := map[string]bool{}
	secrets := map[Secret]int{}
	index := map[string]int{}
	for i, k := range all {
		switch {
		case k.ID == "":
			errs = append(errs, fmt.Errorf("Keys[%d] has no ID: give each key a public name", i))
		case keys[k.ID]:
			errs = append(errs, fmt.Errorf("key %q is there twice: give each key an ID of its own", k.ID))
		}
		if k.Secret.IsZero() {
			errs = append(errs, fmt.Errorf("key %q has no Secret", k.ID))
		} else if showsSecret(k) {
			// Neither name is quoted: one holds the secret.
			errs = append(errs, fmt.Errorf("the ID or Account of Keys[%d] contains its secret: both are public, use other names", i))
			continue
		}
		if first, ok := secrets[k.Secret]; ok && !k.Secret.IsZero() {
			errs = append(errs, fmt.Errorf("Keys[%d] has the Secret of Keys[%d]: its calls would count twice, take one out", i, first))
		}
		if k.Weight < 0 {
			errs = append(errs, fmt.Errorf("key %q has the Weight %d: use 0 for 1, or more", k.ID, k.Weight))
		}
		keys[k.ID], secrets[k.Secret] = true, i
		name := cmp.Or(k.Account, k.ID)
		at, ok := index[name]
		if !ok {
			at = len(accounts)
			index[name] = at
			accounts = append(accounts, &account{id: name})
		}
		accounts[at].keys = append(accounts[at].keys, k)
	}
	return accounts, errors.Join(errs...)
}

// showsSecret reports whether a key's public names give its secret away. A secret of a few letters may stand in a name
// by chance.
func showsSecret(k Key) bool {
	secret := k.Secret.Reveal()
	for _, name := range []string{k.ID, k.Account} {
		if name == secret || len(secret) >= 8 && strings.Contains(name, secret) {
			return true
		}
	}
	return false
}

func (p *plan) addLimits() error {
	var errs []error
	seen := map[string]bool{}
	for i, l := range p.Limits {
		l = l.withDefaults()
		p.Limits[i] = l
		pace, err := l.pace(p.Tuning.ArrivalJitter)
		if err != nil {
			errs = append(errs, fmt.Errorf("Limits[%d]: %w", i, err))
		}
		name := string(l.Scope) + " " + pace.name
		if seen[name] {
			errs = append(errs, fmt.Errorf("Limits[%d]: there is another limit on %s per %v for each %s", i, l.Metric, l.Period, l.Scope))
		}
		seen[name] = true
		p.paces = append(p.paces, pace)
		at := slices.Index(p.metrics, l.Metric)
		if at < 0 {
			at = len(p.metrics)
			p.metrics = append(p.metrics, l.Metric)
		}
		p.index = append(p.index, at)
		p.keyLimits = p.keyLimits || l.Scope == PerKey
		p.modelLimits = p.modelLimits || len(l.Models) > 0
	}
	return errors.Join(errs...)
}

// cost returns the cost of a call on each metric, or an *Error that matches ErrNeverFits.
func (p *plan) cost(c Cost, model string) ([]int64, error) {
	cost := make([]int64, len(p.metrics))
	for i, m := range p.metrics {
		n, ok := c[m]
		if !ok && m == Requests {
			n = 1
		}
		cost[i] = n
	}
	for i, l := range p.Limits {
		n := cost[p.index[i]]
		if n >= 0 && (n <= l.Usable() || !l.counts(model)) {
			continue
		}
		err := &Error{Pool: p.Name, Metric: l.Metric, Limit: l.Usable(), Cost: n, Err: ErrNeverFits}
		if n < 0 {
			err.Err = errNegativeCost
		}
		return nil, err
	}
	return cost, nil
}
