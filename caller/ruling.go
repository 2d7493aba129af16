package caller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller/internal/admission"
)

// LimitSet is what rules for all processes in place of their configuration. What it doesn't name is as configured.
type LimitSet struct {
	// Limits are limits of Config.Limits with another Rate, Reserved and Burst. Metric, Period, Scope, Models and Algorithm
	// say which limit each is. Defaults to none.
	Limits []Limit
	// Concurrency is in place of Config.Concurrency, and needs a pool that has a Concurrency. At least 0. Defaults to 0: as
	// configured.
	Concurrency int
	// Accounts are the changes for single accounts. Defaults to none.
	Accounts []AccountLimits
}

// AccountLimits is what rules in place of the configuration of an account.
type AccountLimits struct {
	ID string // of Config.Accounts or Key.Account
	// Limits are limits of Account.Limits, as LimitSet.Limits.
	Limits []Limit
	// Concurrency is in place of Account.Concurrency, as LimitSet.Concurrency.
	Concurrency int
}

// LimitsVersionError is the error of SetLimits where a version rules that is higher, or the same with other limits.
type LimitsVersionError = admission.LimitsVersionError

// ErrUnknownLimit: SetLimits names a metric, limit or account that the configuration doesn't have.
var ErrUnknownLimit = errors.New("the configuration has no such limit: only its limits can be changed")

// LimitsChange is limits that this process adopts. They were set by SetLimits, here or in another process.
type LimitsChange struct {
	Version int64
	Limits  LimitSet
	// Err is why this process can't follow: its configuration lacks what they name. It goes on as before. nil: it follows.
	Err error
}

// SetLimits changes limits and concurrency for all processes of the pool. Redis keeps them, for 30 days after the pool's
// last call, and each process follows with its next call, also one that starts later. version orders changes: the highest
// rules, and replaces the one before as a whole. At least 1, at most 2^50. SetLimits returns when Redis has the change and
// this process follows.
//
// It fails with a *LimitsVersionError, and changes nothing, if a higher version rules. It fails with ErrUnknownLimit for a
// metric, limit or account that this process isn't configured with. Calls that are admitted go on. A limit of zero isn't
// possible: DisableAccount and Disable stop calls.
func (c *Pool) SetLimits(ctx context.Context, version int64, set LimitSet) error {
	if err := c.settings.checkSet(version, &set, c.keyring.accounts()); err != nil {
		return &Error{Pool: c.settings.Name, Err: err}
	}
	if err := c.admission.SetLimits(ctx, version, encodeLimits(&set)); err != nil {
		return &Error{Pool: c.settings.Name, Err: reasonOf(err)}
	}
	return nil
}

// SetLimits changes limits and concurrency: see Pool.SetLimits.
func (a *Admin) SetLimits(ctx context.Context, version int64, set LimitSet) error {
	return a.pool.SetLimits(ctx, version, set)
}

// rules are the limits that rule: those of a Config, or of a LimitSet in place of them.
type rules struct {
	version     int64 // 0: as configured
	set         LimitSet
	limits      []Limit // those of settings.Limits, in their order
	params      []gcraParams
	concurrency int
}

// ruling returns the limits that rule.
func (p *settings) ruling() *rules { return p.rules.Load() }

// checkSet checks what SetLimits was given.
func (p *settings) checkSet(version int64, set *LimitSet, accounts []string) error {
	if version < 1 || version > maxUnits {
		return fmt.Errorf("the version is %d: use 1 to %d", version, int64(maxUnits))
	}
	var errs []error
	for _, a := range set.Accounts {
		if !slices.Contains(accounts, a.ID) && p.sites[a.ID] == nil {
			errs = append(errs, fmt.Errorf("account %q: %w; it has the accounts %s", a.ID, ErrUnknownLimit, strings.Join(accounts, ", ")))
		}
	}
	_, err := p.ruledBy(version, set)
	return errors.Join(append(errs, err)...)
}

// ruledBy returns the rules that a LimitSet makes of the configuration.
func (p *settings) ruledBy(version int64, set *LimitSet) (*rules, error) {
	r := &rules{
		version: version, set: *set, limits: slices.Clone(p.Limits), params: slices.Clone(p.params), concurrency: p.Concurrency,
	}
	var errs []error
	for i := range set.Limits {
		errs = append(errs, p.replace(r, "", &set.Limits[i]))
	}
	if set.Concurrency != 0 {
		errs = append(errs, p.checkConcurrency("", set.Concurrency))
		r.concurrency = set.Concurrency
	}
	for _, a := range set.Accounts {
		for i := range a.Limits {
			errs = append(errs, p.replace(r, a.ID, &a.Limits[i]))
		}
		if a.Concurrency != 0 {
			errs = append(errs, p.checkConcurrency(a.ID, a.Concurrency))
		}
	}
	return r, errors.Join(errs...)
}

// rulesOr returns the rules that a LimitSet makes, or others and why it can't.
func (p *settings) rulesOr(others *rules, version int64, set *LimitSet) (*rules, error) {
	r, err := p.ruledBy(version, set)
	if err != nil {
		return others, err
	}
	return r, nil
}

// replace puts the numbers of a limit in place of the configured ones.
func (p *settings) replace(r *rules, account string, l *Limit) error {
	its := l.withDefaults()
	id := limitID(account, &its)
	at := -1
	for i := range p.Limits {
		if p.owners[i] == account && limitID(account, &p.Limits[i]) == id {
			at = i
		}
	}
	if at < 0 {
		return p.unknownLimit(account, &its)
	}
	out := r.limits[at]
	if its.Algorithm != out.Algorithm {
		return fmt.Errorf("%s: %w; it is of the Algorithm %s", its.id(), ErrUnknownLimit, out.Algorithm)
	}
	out.Rate, out.Reserved, out.Burst = its.Rate, its.Reserved, its.Burst
	params, err := out.gcraParams(p.Tuning.ArrivalJitter)
	if err != nil {
		return err
	}
	r.limits[at], r.params[at] = out, params
	return nil
}

// unknownLimit returns the error of a limit that the configuration of an account, or of all, doesn't have.
func (p *settings) unknownLimit(account string, l *Limit) error {
	var have []string
	for i := range p.Limits {
		if p.owners[i] == account {
			have = append(have, p.Limits[i].id())
		}
	}
	of := "all accounts"
	if account != "" {
		of = fmt.Sprintf("account %q", account)
	}
	if len(have) == 0 {
		return fmt.Errorf("%s of %s: %w; it has none of its own", l.id(), of, ErrUnknownLimit)
	}
	return fmt.Errorf("%s of %s: %w; it has %s", l.id(), of, ErrUnknownLimit, strings.Join(have, ", "))
}

// checkConcurrency checks a number of calls in flight of an account, or of each account.
func (p *settings) checkConcurrency(account string, n int) error {
	limited := p.Concurrency > 0 || slices.ContainsFunc(p.Accounts, func(a Account) bool { return a.Concurrency > 0 })
	switch {
	case n < 0:
		return fmt.Errorf("Concurrency is %d: use 1 or more, or 0 to leave it as it is configured", n)
	case !limited || account == "" && p.Concurrency == 0:
		return errors.New("Concurrency is set, and the configuration has none: configure one first")
	case p.Adaptive != nil && n < p.Adaptive.Min:
		return fmt.Errorf("Concurrency is %d, less than Adaptive.Min: use %d or more", n, p.Adaptive.Min)
	}
	return nil
}

// readLimits follows a version of the limits.
func (p *settings) readLimits(version int64, text string) (*admission.LimitSet, error) {
	set, err := p.decodeLimits(text)
	if err != nil {
		return nil, err
	}
	r, err := p.ruledBy(version, set)
	if err != nil {
		return nil, err
	}
	p.rules.Store(r)
	out := &admission.LimitSet{Limits: p.admissionLimits(r), Concurrency: r.concurrency, Accounts: map[string]int{}}
	for _, a := range set.Accounts {
		if a.Concurrency > 0 {
			out.Accounts[a.ID] = a.Concurrency
		}
	}
	return out, nil
}

// limitSetText is a LimitSet in JSON, as Redis keeps it: see scripts/PROTOCOL.md.
type limitSetText struct {
	Limits      []limitText    `json:"limits,omitempty"`
	Concurrency int            `json:"concurrency,omitempty"`
	Accounts    map[string]int `json:"accounts,omitempty"` // concurrency by account
}

type limitText struct {
	Name     string     `json:"name"` // as in the name of the limit's counters
	Scope    LimitScope `json:"scope"`
	Account  string     `json:"account,omitempty"` // that alone has the limit
	Rate     int64      `json:"rate"`
	Burst    int64      `json:"burst,omitempty"`
	Reserved float64    `json:"reserved,omitempty"`
}

// encodeLimits returns the text of a LimitSet.
func encodeLimits(set *LimitSet) string {
	out := limitSetText{Concurrency: set.Concurrency, Accounts: map[string]int{}}
	add := func(account string, limits []Limit) {
		for _, l := range limits {
			l = l.withDefaults()
			out.Limits = append(out.Limits, limitText{l.name(), l.Scope, account, l.Rate, l.Burst, l.Reserved})
		}
	}
	add("", set.Limits)
	for _, a := range set.Accounts {
		add(a.ID, a.Limits)
		if a.Concurrency != 0 {
			out.Accounts[a.ID] = a.Concurrency
		}
	}
	return toJSON(out)
}

// decodeLimits returns the LimitSet of a text.
func (p *settings) decodeLimits(text string) (*LimitSet, error) {
	var in limitSetText
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("the limits in Redis can't be read: %w", err)
	}
	set := &LimitSet{Concurrency: in.Concurrency}
	account := func(id string) *AccountLimits {
		at := slices.IndexFunc(set.Accounts, func(a AccountLimits) bool { return a.ID == id })
		if at < 0 {
			at = len(set.Accounts)
			set.Accounts = append(set.Accounts, AccountLimits{ID: id})
		}
		return &set.Accounts[at]
	}
	for _, l := range in.Limits {
		at := slices.IndexFunc(p.Limits, func(o Limit) bool { return o.name() == l.Name && o.Scope == l.Scope })
		if at < 0 {
			return nil, fmt.Errorf("%s %s: %w", l.Scope, l.Name, ErrUnknownLimit)
		}
		its := p.Limits[at]
		its.Rate, its.Burst, its.Reserved = l.Rate, l.Burst, l.Reserved
		if l.Account == "" {
			set.Limits = append(set.Limits, its)
			continue
		}
		a := account(l.Account)
		a.Limits = append(a.Limits, its)
	}
	for _, id := range slices.Sorted(maps.Keys(in.Accounts)) {
		account(id).Concurrency = in.Accounts[id]
	}
	return set, nil
}
