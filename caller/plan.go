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
	accounts []account // a lane of the pool each, by index
	metrics  []Metric
	shape    *scripts.PoolShape
}

// account is an account and its keys.
type account struct {
	id   string
	keys []Key
}

// pace is a limit as GCRA works with it.
type pace struct {
	name     string  // unique among an account's limits
	interval float64 // seconds per unit
	burst    int64   // units
}

var metricName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// newPlan checks a Config. The error says everything that is wrong, and what to change.
func newPlan(cfg Config) (*plan, error) {
	cfg.Keys, cfg.Limits = slices.Clone(cfg.Keys), slices.Clone(cfg.Limits)
	cfg.Slack = cmp.Or(cfg.Slack, DefaultSlack)
	cfg.Horizon = cmp.Or(cfg.Horizon, DefaultHorizon)
	cfg.TTL = cmp.Or(cfg.TTL, DefaultTTL)
	if cfg.Session == "" {
		host, _ := os.Hostname()
		cfg.Session = host + "-" + strconv.Itoa(os.Getpid())
	}
	// Two sessions never have the same name, whatever the processes are called.
	cfg.Session += "~" + strconv.FormatUint(rand.Uint64(), 36)
	cfg.Profile = cfg.Profile.withDefaults()
	p := &plan{Config: cfg}
	paces, err := p.paces()
	err = errors.Join(p.checkPool(), p.addKeys(), err, cfg.Retry.Validate())
	if err != nil {
		return nil, fmt.Errorf("caller: the configuration of pool %q: %w", cfg.Pool, err)
	}
	p.layOut(paces)
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
	secrets := map[Secret]int{}
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
		if first, ok := secrets[k.Secret]; ok && !k.Secret.IsZero() {
			errs = append(errs, fmt.Errorf("Keys[%d] has the Secret of Keys[%d]: its calls would count twice, take one out", i, first))
		}
		keys[k.ID], secrets[k.Secret] = true, i
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

func (p *plan) paces() ([]pace, error) {
	var paces []pace
	var errs []error
	seen := map[string]bool{}
	for i, l := range p.Limits {
		limit, err := l.pace(p.Slack)
		if err != nil {
			errs = append(errs, fmt.Errorf("Limits[%d]: %w", i, err))
			continue
		}
		if seen[limit.name] {
			errs = append(errs, fmt.Errorf("Limits[%d]: there is another limit on %s per %v", i, l.Metric, l.Per))
		}
		seen[limit.name] = true
		paces = append(paces, limit)
	}
	return paces, errors.Join(errs...)
}

// layOut makes each account a lane with counters and permits of its own.
func (p *plan) layOut(paces []pace) {
	cfg := scripts.PoolConfig{Session: p.Session, TTL: p.TTL, Horizon: p.Horizon}
	for _, l := range p.Limits {
		if !slices.Contains(p.metrics, l.Metric) {
			p.metrics = append(p.metrics, l.Metric)
		}
	}
	cfg.Metrics = len(p.metrics)
	for i, a := range p.accounts {
		lane := scripts.PoolLane{Name: a.id, Permits: -1, Blocks: []string{scripts.AccountBlock(a.id)}}
		for j, l := range paces {
			lane.Counters = append(lane.Counters, len(cfg.Counters))
			cfg.Counters = append(cfg.Counters, scripts.PoolCounter{
				Name: scripts.CounterName(a.id, l.name), Metric: slices.Index(p.metrics, p.Limits[j].Metric),
				Interval: l.interval, Burst: l.burst,
			})
		}
		if p.Concurrency > 0 {
			lane.Permits = i
			cfg.Permits = append(cfg.Permits, scripts.PoolPermits{Name: a.id, Limit: p.Concurrency})
		}
		for _, k := range a.keys {
			lane.Keys = append(lane.Keys, k.ID)
		}
		cfg.Lanes = append(cfg.Lanes, lane)
	}
	p.shape = scripts.NewPoolShape(&cfg)
}

// limitOf returns the limit that a counter of the shape counts.
func (p *plan) limitOf(counter int) Limit { return p.Limits[counter%len(p.Limits)] }

// cost returns the cost of a call on each metric, or an *Error that matches ErrNeverFits.
func (p *plan) cost(c Cost) ([]int64, error) {
	cost := make([]int64, len(p.metrics))
	for i, m := range p.metrics {
		n, ok := c[m]
		if !ok && m == Requests {
			n = 1
		}
		cost[i] = n
	}
	for _, l := range p.Limits {
		n := cost[slices.Index(p.metrics, l.Metric)]
		if n >= 0 && n <= l.Limit {
			continue
		}
		err := &Error{Pool: p.Pool, Metric: l.Metric, Limit: l.Limit, Cost: n, Err: ErrNeverFits}
		if n < 0 {
			err.Err = errNegativeCost
		}
		return nil, err
	}
	return cost, nil
}
