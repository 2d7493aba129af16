package caller

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/scripts"
)

// Defaults of Config.
const (
	DefaultSlack   = 100 * time.Millisecond
	DefaultHorizon = 100 * time.Millisecond
	DefaultTTL     = 10 * time.Second
)

// plan is a Config checked, with its defaults filled in, in the form that admission works on.
type plan struct {
	Config
	limits   []scripts.PoolLimit
	accounts []account
}

// account is an account and its keys.
type account struct {
	id   string
	keys []Key
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// newPlan checks a Config. The error says everything that is wrong, and what to change.
func newPlan(cfg Config) (*plan, error) {
	cfg.Slack = cmp.Or(cfg.Slack, DefaultSlack)
	cfg.Horizon = cmp.Or(cfg.Horizon, DefaultHorizon)
	cfg.TTL = cmp.Or(cfg.TTL, DefaultTTL)
	if cfg.Session == "" {
		host, _ := os.Hostname()
		cfg.Session = host + "-" + strconv.Itoa(os.Getpid())
	}
	cfg.Profile = cfg.Profile.withDefaults()
	p := &plan{Config: cfg}
	err := errors.Join(p.checkPool(), p.addKeys(), p.addLimits(), cfg.Retry.Validate())
	if err != nil {
		return nil, fmt.Errorf("caller: the configuration of pool %q: %w", cfg.Pool, err)
	}
	return p, nil
}

func (p *plan) checkPool() error {
	var errs []error
	if p.Pool == "" {
		errs = append(errs, errors.New("Pool is empty: name the quota that the processes share"))
	}
	if p.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("Concurrency is %d: use the provider's limit, or 0 for none", p.Concurrency))
	}
	if p.Slack < 0 {
		errs = append(errs, fmt.Errorf("Slack is %v: use 0 for the default of %v, or more", p.Slack, DefaultSlack))
	}
	if p.Horizon < 0 {
		errs = append(errs, fmt.Errorf("Horizon is %v: use 0 for the default of %v, or more", p.Horizon, DefaultHorizon))
	}
	if p.TTL < time.Second {
		errs = append(errs, fmt.Errorf("TTL is %v: use 0 for the default of %v, or at least 1s", p.TTL, DefaultTTL))
	}
	return errors.Join(errs...)
}

func (p *plan) addKeys() error {
	if len(p.Keys) == 0 {
		return errors.New("Keys is empty: give at least one API key")
	}
	var errs []error
	keys := map[string]bool{}
	index := map[string]int{}
	for i, k := range p.Keys {
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
		keys[k.ID] = true
		name := cmp.Or(k.Account, k.ID)
		at, ok := index[name]
		if !ok {
			at = len(p.accounts)
			index[name] = at
			p.accounts = append(p.accounts, account{id: name})
		}
		p.accounts[at].keys = append(p.accounts[at].keys, k)
	}
	return errors.Join(errs...)
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
		limit, err := l.schedule(p.Slack)
		if err != nil {
			errs = append(errs, fmt.Errorf("Limits[%d]: %w", i, err))
			continue
		}
		if seen[limit.Name] {
			errs = append(errs, fmt.Errorf("Limits[%d]: there is another limit on %s per %v", i, l.Metric, l.Per))
		}
		seen[limit.Name] = true
		p.limits = append(p.limits, limit)
	}
	return errors.Join(errs...)
}

// cost returns the cost of a call on each limit, or an *Error that matches ErrNeverFits.
func (p *plan) cost(c Cost) ([]int64, error) {
	cost := make([]int64, len(p.Limits))
	for i, l := range p.Limits {
		n, ok := c[l.Metric]
		if !ok && l.Metric == Requests {
			n = 1
		}
		switch {
		case n < 0:
			return nil, &Error{Pool: p.Pool, Metric: l.Metric, Limit: l.Limit, Cost: n,
				Err: errors.New("a cost can't be negative")}
		case n > l.Limit:
			return nil, &Error{Pool: p.Pool, Metric: l.Metric, Limit: l.Limit, Cost: n, Err: ErrNeverFits}
		}
		cost[i] = n
	}
	return cost, nil
}
