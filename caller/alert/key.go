package alert

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/caller"
)

// disabled judges each key, and each account that has several.
func disabled(f *caller.Fleet) []reading {
	type account struct {
		keys, out int
		last      caller.KeyState // that is out of use
		after     time.Duration
	}
	accounts := map[string]*account{}
	var order []string
	for _, k := range f.Keys {
		a := accounts[k.Account]
		if a == nil {
			a = &account{}
			accounts[k.Account] = a
			order = append(order, k.Account)
		}
		a.keys++
		if out(k) {
			a.out++
			a.last, a.after = k, max(a.after, patience(k))
		}
	}
	var all []reading
	for _, id := range order {
		a := accounts[id]
		whole := a.keys > 1 && a.out == a.keys
		if a.keys > 1 {
			all = append(all, reading{
				rule: AccountDisabled, severity: Critical, labels: map[string]string{"account": id}, after: a.after, calm: calm,
				summary: fmt.Sprintf("all %d keys of account %s are disabled: %s", a.keys, id, a.last.Reason),
				fires:   whole, clears: !whole,
			})
		}
	}
	for _, k := range f.Keys {
		a := accounts[k.Account]
		// Where the whole account is out of use, that is one alert. A key's own that fires already goes on.
		whole := a.keys > 1 && a.out == a.keys
		all = append(all, reading{
			rule: KeyDisabled, severity: Warning, labels: map[string]string{"account": k.Account, "key": k.ID}, after: patience(k), calm: calm,
			summary: fmt.Sprintf("key %s of account %s is disabled: %s", k.ID, k.Account, k.Reason),
			fires:   out(k) && !whole, clears: !out(k),
		})
	}
	return all
}

// out reports whether a key is disabled, or waits for the call that tests it.
func out(k caller.KeyState) bool { return k.Disabled > 0 || k.Trial }

// patience is for how long a key must be out of use until people are notified.
func patience(k caller.KeyState) time.Duration {
	if k.Disabled > byOperator {
		return 0
	}
	return keyPatience
}
