package caller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller/internal/admission"
)

// operatorFor is the time for which a key that an operator has disabled stays so.
const operatorFor = 10 * 365 * day

// keyring finds the credentials of a key.
type keyring struct {
	mu    sync.Mutex                      // held while the keys change here and in admission, so that both get them in the same order
	byKey atomic.Pointer[map[string]*Key] // by the key's ID in admission, which has a fingerprint of the secret; never changed
	names atomic.Pointer[[]string]        // of the accounts
}

// set replaces the keys of a pool.
func (r *keyring) set(pool string, keys []Key) {
	byKey := make(map[string]*Key, len(keys))
	var names []string
	for _, k := range keys {
		byKey[k.fingerprinted(pool)] = &k
		if id := k.account(); !slices.Contains(names, id) {
			names = append(names, id)
		}
	}
	r.byKey.Store(&byKey)
	r.names.Store(&names)
}

// find returns a key by its ID in admission; nil if the key is gone or its secret has changed.
func (r *keyring) find(key string) *Key { return (*r.byKey.Load())[key] }

// has reports whether there is a key of an ID.
func (r *keyring) has(id string) bool {
	for _, k := range *r.byKey.Load() {
		if k.ID == id {
			return true
		}
	}
	return false
}

// size returns the number of keys.
func (r *keyring) size() int { return len(*r.byKey.Load()) }

// accounts returns the accounts of the keys. It mustn't be changed.
func (r *keyring) accounts() []string { return *r.names.Load() }

// fingerprinted returns the ID of a pool's key in admission.
func (k *Key) fingerprinted(pool string) string {
	return admission.WithFingerprint(k.ID, k.Secret.fingerprint(pool))
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
			errs = append(errs, fmt.Errorf("key %q appears twice: give each key its own ID", k.ID))
		}
		if k.Secret.IsZero() && k.Authorize == nil {
			errs = append(errs, fmt.Errorf("key %q has no Secret: set it, or Authorize", k.ID))
		} else if showsSecret(k) {
			// Neither name is quoted: one holds the secret.
			errs = append(errs, fmt.Errorf("the ID or Account of Keys[%d] contains its secret, and both are public: use other names", i))
			continue
		}
		if first, ok := secrets[k.Secret]; ok && !k.Secret.IsZero() {
			errs = append(errs, fmt.Errorf("Keys[%d] has the Secret of Keys[%d]: remove one, or its calls count twice", i, first))
		}
		if k.Weight < 0 {
			errs = append(errs, fmt.Errorf("the Weight of key %q is %d: use 0 for the default of 1, or more", k.ID, k.Weight))
		}
		keys[k.ID], secrets[k.Secret] = true, i
	}
	return errors.Join(errs...)
}

// showsSecret reports whether a public name of a key contains its secret. A secret of a few letters may be part of a name
// by chance.
func showsSecret(k Key) bool {
	secret := k.Secret.Reveal()
	if secret == "" {
		return false
	}
	for _, name := range []string{k.ID, k.Account} {
		if name == secret || len(secret) >= 8 && strings.Contains(name, secret) {
			return true
		}
	}
	return false
}

// SetKeys replaces the keys of this process while calls go on. A key that is gone gets no new calls. A key that stays
// keeps its state and gets its new weight. A key with a new secret starts anew: what was disabled was its former secret. The
// other processes of the pool need the same keys. If SetKeys returns an error, nothing has changed.
func (c *Pool) SetKeys(keys []Key) error {
	if err := checkKeys(keys); err != nil {
		return fmt.Errorf("caller: the keys of pool %q: %w", c.settings.Name, err)
	}
	c.keyring.mu.Lock()
	defer c.keyring.mu.Unlock()
	c.keyring.set(c.settings.Name, keys) // first, so that no key is granted whose secret isn't there
	c.admission.SetAccounts(c.settings.accountsOf(keys))
	return nil
}

// WatchKeys calls load at an interval, and SetKeys with its keys, until ctx ends. An error of load or SetKeys goes to
// Hooks.KeysFailed, and the keys stay as they were. WatchKeys returns the cause of ctx's end, or an error if the interval
// isn't more than 0.
func (c *Pool) WatchKeys(ctx context.Context, every time.Duration, load func(context.Context) ([]Key, error)) error {
	if every <= 0 {
		return fmt.Errorf("caller: the interval of WatchKeys is %v: use more than 0", every)
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
		if err != nil && ctx.Err() == nil && c.settings.Hooks.KeysFailed != nil {
			c.settings.Hooks.KeysFailed(ctx, err)
		}
	}
}

// Errors of Disable, Enable and EnableAccount.
var (
	errUnknownKey     = errors.New("this process has no key of this ID: use an ID of Config.Keys")
	errUnknownAccount = errors.New("this process has no account of this name: use an Account of Config.Keys")
)

// Disable takes a key out of use in all processes until Enable. It returns when Redis has confirmed it. Calls that have
// been admitted go on. Inspect and ErrNoKeys show the reason.
func (c *Pool) Disable(ctx context.Context, key, reason string) error {
	if !c.keyring.has(key) {
		return c.instructed(key, errUnknownKey)
	}
	b := admission.Block{Key: key, For: operatorFor, Disabled: true, Reason: reason}
	return c.instructed(key, c.admission.Block(ctx, b))
}

// Enable puts a key that was disabled, by Disable or because the provider rejected it, back into use. It returns when Redis
// has confirmed it. A cooldown goes on.
func (c *Pool) Enable(ctx context.Context, key string) error {
	if !c.keyring.has(key) {
		return c.instructed(key, errUnknownKey)
	}
	return c.instructed(key, c.admission.Unblock(ctx, "", key))
}

// EnableAccount puts an account that was disabled because it was out of credit back into use. It returns when Redis has
// confirmed it.
func (c *Pool) EnableAccount(ctx context.Context, account string) error {
	if !slices.ContainsFunc(c.admission.Accounts(), func(a admission.Account) bool { return a.ID == account }) {
		return c.instructed(account, errUnknownAccount)
	}
	return c.instructed(account, c.admission.Unblock(ctx, account, ""))
}

// instructed returns the error of an operator's order about a key or account.
func (c *Pool) instructed(name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Pool: c.settings.Name, Key: name, Err: reasonOf(err)}
}
