package caller

import (
	"crypto/rand"
	"net/http"

	"github.com/penstock/penstock/retry"
)

// setIdempotencyKey sets the call's idempotency key if the configuration asks for one.
func (p *settings) setIdempotencyKey(o *Options) {
	if p.IdempotencyKeys && o.IdempotencyKey == "" {
		o.IdempotencyKey = rand.Text()
	}
}

// noUnsafeRetry marks the error of an attempt as permanent if the attempt may have been carried out and the call isn't
// idempotent.
func noUnsafeRetry(v Verdict, err error, idempotent bool) error {
	switch {
	case idempotent, v.Outcome == Throttled, v.Outcome == KeyRejected, v.Outcome == OutOfCredit, v.Elsewhere, retry.NeverSent(err):
		return err
	}
	return noRetry(v, err)
}

// noRetry marks the error of an attempt that isn't a success as permanent.
func noRetry(v Verdict, err error) error {
	if err == nil {
		if v.Outcome == Success {
			return nil
		}
		err = &outcomeError{v}
	}
	return retry.Permanent(err)
}

// noUnsafeRetry marks the error of a request's attempt as permanent if the request can't, or must not, be sent again.
func (t *Transport) noUnsafeRetry(req *http.Request, i Idempotency, v Verdict, err error) error {
	if err == nil && v.Outcome == Success {
		return nil
	}
	if !replayable(req) {
		return noRetry(v, err)
	}
	return noUnsafeRetry(v, err, t.repeatable(req, i))
}

// repeatable reports whether a request may be carried out twice.
func (t *Transport) repeatable(req *http.Request, i Idempotency) bool {
	switch i {
	case IdempotencyYes:
		return true
	case IdempotencyNo:
		return false
	default:
		return t.pool.settings.Profile.Idempotent(req)
	}
}

// IsIdempotent reports whether a request may be carried out twice by the rule of net/http: its method is GET, HEAD,
// OPTIONS or TRACE, or it has an Idempotency-Key or X-Idempotency-Key header.
func IsIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := r.Header["Idempotency-Key"]
	_, xkey := r.Header["X-Idempotency-Key"]
	return key || xkey
}
