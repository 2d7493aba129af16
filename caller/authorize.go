package caller

import (
	"context"
	"fmt"
	"net/http"
)

// authorizeError is the error of Key.Authorize: the key can't be used, and nothing was sent.
type authorizeError struct {
	key string // its ID
	err error
}

// Error names the key.
func (e *authorizeError) Error() string { return fmt.Sprintf("Authorize of key %q: %v", e.key, e.err) }

// Unwrap returns the error of Key.Authorize.
func (e *authorizeError) Unwrap() error { return e.err }

// Verdict returns the verdict on the key.
func (e *authorizeError) Verdict() Verdict {
	return Verdict{Outcome: KeyRejected, Scope: ScopeKey, Reason: "Authorize failed"}
}

// Authorize adds the granted key's credentials to a request, by Key.Authorize or Profile.Authorize, in place of those that
// the request has. Transport does so itself. A function of Do returns the error as it is, because it is the key's.
func (g *Grant) Authorize(ctx context.Context, r *http.Request) error {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if g.key.Authorize == nil {
		r.Header.Del("Authorization")
		g.pool.settings.Profile.Authorize(r, g.Secret())
		return nil
	}
	for _, name := range credentials {
		if name != "Cookie" {
			r.Header.Del(name)
		}
	}
	if err := g.key.Authorize(ctx, r); err != nil {
		if ctx.Err() != nil && cancelCause(ctx) != ErrAttemptTimeout { //nolint:errorlint // the very value
			return err // the call has ended, which says nothing about the key
		}
		return &authorizeError{g.Key, err}
	}
	return nil
}

// direct prepares an attempt's request for the granted account: its URL, its name of the model, and the key's credentials.
// named is the model as the request names it.
func (g *Grant) direct(ctx context.Context, r *http.Request, named string) error {
	if where := g.site(); where != nil {
		if err := (rename{g.model, named, g.Model}).apply(r); err != nil {
			return err
		}
		where.apply(r, g.pool.settings.base, g.Model)
	}
	return g.Authorize(ctx, r)
}
