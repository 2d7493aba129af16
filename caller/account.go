package caller

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Account is what the provider counts, and the place where calls with its keys are sent: an organisation, a region or
// deployment, a gateway. A field that isn't set is as for all accounts.
type Account struct {
	// ID names the account in Redis, metrics and errors. Keys name it in Key.Account. Required, unique in the pool.
	ID string
	// BaseURL is where Transport sends the account's calls: a scheme, a host, and optionally a path and a query. It takes the
	// place of Config.BaseURL in the URLs of requests. "{model}" in it stands for the model's name in the account. Defaults
	// to the request's own URL.
	BaseURL string
	// Query is added to the URL of each request, in place of the parameters of the same names. Defaults to none.
	Query url.Values
	// Header is added to each request, in place of the headers of the same names. Defaults to none.
	Header http.Header
	// Models are the models that the account has, and the name that each has there. '*' in a model stands for any text, and
	// an empty name for the same name. A call for another model goes to other accounts. Defaults to none: the account has
	// every model, by its own name.
	Models map[string]string
	// Limits are limits of the account and its keys alone. Each takes the place of that of Config.Limits on the same Metric,
	// Period, Scope and Models. The other limits of Config.Limits stay. Defaults to none.
	Limits []Limit
	// Concurrency is the number of calls of all processes that the account may have in flight, in place of
	// Config.Concurrency. At least 0. Defaults to 0: Config.Concurrency.
	Concurrency int
	// Weight is the account's share of calls under LeastLoaded and RoundRobin. At least 0. Defaults to 0: the highest weight
	// of its keys.
	Weight int
}

// ErrNoModel: no account has the call's model. See Account.Models.
var ErrNoModel = errors.New("no account has the model: add it to the Models of an account, or correct the call's model")

// sites are the accounts of a configuration, by ID.
type sites map[string]*site

// addAccounts checks the accounts and makes their sites.
func (p *settings) addAccounts() error {
	var errs []error
	if p.BaseURL != "" {
		base, err := parseBase(p.BaseURL)
		if err != nil {
			errs = append(errs, fmt.Errorf("BaseURL %w", err))
		}
		p.base = base
	}
	p.sites = make(sites, len(p.Accounts))
	for i := range p.Accounts {
		a := &p.Accounts[i]
		where, err := newSite(a)
		switch {
		case a.ID == "":
			err = errors.Join(fmt.Errorf("Accounts[%d] has no ID: give each account a public name", i), err)
		case p.sites[a.ID] != nil:
			err = errors.Join(fmt.Errorf("account %q appears twice: give each account its own ID", a.ID), err)
		case !slices.ContainsFunc(p.Keys, func(k Key) bool { return k.account() == a.ID }):
			err = errors.Join(fmt.Errorf("account %q has no key: name it in Key.Account", a.ID), err)
		}
		if err != nil {
			errs = append(errs, err)
		}
		p.sites[a.ID] = where
	}
	return errors.Join(errs...)
}

// account returns the ID of the key's account.
func (k *Key) account() string { return cmp.Or(k.Account, k.ID) }

// accountsOf returns the accounts of keys as admission wants them: those of Config.Accounts first, then in the order of
// the keys.
func (p *settings) accountsOf(keys []Key) []admission.Account {
	var accounts []admission.Account
	index := map[string]int{}
	add := func(id string) int {
		at, ok := index[id]
		if !ok {
			at = len(accounts)
			index[id] = at
			accounts = append(accounts, admission.Account{ID: id})
		}
		return at
	}
	for i := range p.Accounts {
		add(p.Accounts[i].ID)
	}
	for i := range keys {
		k := &keys[i]
		at := add(k.account())
		accounts[at].Keys = append(accounts[at].Keys, admission.Key{ID: k.fingerprinted(p.Name), Weight: max(1, k.Weight)})
	}
	accounts = slices.DeleteFunc(accounts, func(a admission.Account) bool { return len(a.Keys) == 0 })
	for i := range accounts {
		if where := p.sites[accounts[i].ID]; where != nil {
			accounts[i].Weight, accounts[i].Concurrency = where.weight, where.concurrency
			accounts[i].Models = slices.Sorted(maps.Keys(where.models))
		}
	}
	return accounts
}

// namesModel reports whether one of the account's models is a model, and returns its name there.
func namesModel(models map[string]string, model string) (there string, ok bool) {
	if there, ok = models[model]; ok {
		return cmp.Or(there, model), true
	}
	longest := ""
	for pattern, name := range models { // the longest pattern is the closest; of two as long, the first by name
		closer := len(pattern) > len(longest) || len(pattern) == len(longest) && pattern < longest
		if strings.Contains(pattern, "*") && (closer || !ok) && admission.Matches([]string{pattern}, model) {
			there, longest, ok = cmp.Or(name, model), pattern, true
		}
	}
	return there, ok
}
