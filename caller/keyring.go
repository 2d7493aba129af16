package caller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// operatorFor is the time for which a key that an operator has disabled stays so.
const operatorFor = 10 * 365 * day

// keyring finds the secret of a key.
type keyring struct {
	mu      sync.Mutex                        // held while the keys change here and in admission, so that both get them in the same order
	secrets atomic.Pointer[map[string]Secret] // by key ID; never changed
}

// set replaces the keys.
func (r *keyring) set(keys []Key) {
	secrets := make(map[string]Secret, len(keys))
	for _, k := range keys {
		secrets[k.ID] = k.Secret
	}
	r.secrets.Store(&secrets)
}

// secret returns the secret of a key, and false if the key is gone.
func (r *keyring) secret(key string) (Secret, bool) {
	s, ok := (*r.secrets.Load())[key]
	return s, ok
}

// accountsOf returns the accounts of keys, in order.
func accountsOf(keys []Key) []admission.Account {
	var accounts []admission.Account
	index := map[string]int{}
	for _, k := range keys {
		name := cmp.Or(k.Account, k.ID)
		at, ok := index[name]
		if !ok {
			at = len(accounts)
			index[name] = at
			accounts = append(accounts, admission.Account{ID: name})
		}
		accounts[at].Keys = append(accounts[at].Keys, admission.Key{ID: k.ID, Weight: max(1, k.Weight)})
	}
	return accounts
}

// checkKeys returns an error that says everything that is wrong with keys.
func checkKeys(all []Key) error {
	if len(all) == 0 {
		return errors.New("Keys is empty: give at least one API key")
	}
	var errs []error
	keys := map[string]bool{}
	secrets := map[Secret]int{}
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

// SetKeys puts keys in the place of those that there are, while calls go on: keys that are gone get no new calls, new
// ones do from now on, and those that stay keep their state and get their new secret and weight. It changes this
// process alone; the other processes of the pool need the same. An error leaves everything as it was.
func (c *Pool) SetKeys(keys []Key) error {
	if err := checkKeys(keys); err != nil {
		return fmt.Errorf("caller: the keys of pool %q: %w", c.plan.Name, err)
	}
	c.keyring.mu.Lock()
	defer c.keyring.mu.Unlock()
	c.keyring.set(keys) // first, so that no key is granted whose secret isn't there
	c.admission.SetAccounts(accountsOf(keys))
	return nil
}

// WatchKeys loads the keys again and again, every so often, and calls SetKeys with them, until ctx ends. What load
// returns is used as long as it is a usable set of keys; its errors and those of SetKeys go to Hooks.KeysFailed, and
// the keys stay as they were. WatchKeys returns the cause of ctx's end, or an error for an interval that isn't positive.
func (c *Pool) WatchKeys(ctx context.Context, every time.Duration, load func(context.Context) ([]Key, error)) error {
	if every <= 0 {
		return fmt.Errorf("caller: keys can't be loaded every %v: use more than 0", every)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		keys, err := load(ctx)
		if err == nil {
			err = c.SetKeys(keys)
		}
		if err != nil && ctx.Err() == nil && c.plan.Hooks.KeysFailed != nil {
			c.plan.Hooks.KeysFailed(err)
		}
	}
}

// Disable takes a key out of use in the whole fleet until Enable. It returns when Redis knows; calls that have been
// admitted go on. The reason is for whoever asks Inspect, or gets ErrNoKeys.
func (c *Pool) Disable(ctx context.Context, key, reason string) error {
	b := admission.Block{Key: key, For: operatorFor, Disabled: true, Reason: reason}
	return c.instructed(key, c.admission.Block(ctx, b))
}

// Enable lets a key be used again that was disabled, by an operator or because the provider refused it. It returns when
// Redis knows. A cooldown that goes on isn't ended.
func (c *Pool) Enable(ctx context.Context, key string) error {
	return c.instructed(key, c.admission.Unblock(ctx, "", key))
}

// EnableAccount lets an account be used again that was disabled because it couldn't pay. It returns when Redis knows.
func (c *Pool) EnableAccount(ctx context.Context, account string) error {
	return c.instructed(account, c.admission.Unblock(ctx, account, ""))
}

// instructed returns the error of an operator's order about a key or account.
func (c *Pool) instructed(name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Pool: c.plan.Name, Key: name, Err: reasonOf(err)}
}
