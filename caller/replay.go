package caller

import (
	"crypto/rand"
	"errors"
	"net"
	"net/http"

	"github.com/penstock/penstock/retry"
)

// identify gives the call the idempotency key that the configuration wants it to have.
func (p *settings) identify(o *Options) {
	if p.IdempotencyKeys && o.IdempotencyKey == "" {
		o.IdempotencyKey = rand.Text()
	}
}

// guard keeps a call that may have been carried out from being made again, unless that is safe.
func guard(v Verdict, err error, safe bool) error {
	switch {
	case safe, v.Outcome == Throttled, v.Outcome == KeyRejected, v.Outcome == OutOfCredit, neverSent(err):
		return err
	}
	return final(v, err)
}

// final makes an attempt that failed the last one.
func final(v Verdict, err error) error {
	if err == nil {
		if v.Outcome == Success {
			return nil
		}
		err = &outcomeError{v}
	}
	return retry.Permanent(err)
}

// guard keeps a request that can't be sent again, or may not, from it.
func (t *Transport) guard(req *http.Request, word Idempotency, v Verdict, err error) error {
	if err == nil && v.Outcome == Success {
		return nil
	}
	if hasBody(req) && req.GetBody == nil {
		return final(v, err)
	}
	return guard(v, err, t.repeatable(req, word))
}

// repeatable reports whether a request may be carried out twice.
func (t *Transport) repeatable(req *http.Request, word Idempotency) bool {
	switch word {
	case IdempotencyYes:
		return true
	case IdempotencyNo:
		return false
	default:
		return t.caller.plan.Profile.Idempotent(req)
	}
}

// neverSent reports whether err is that no connection could be made.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// Idempotent is net/http's rule for requests that may be sent twice: GET, HEAD, OPTIONS, TRACE, and whatever has an
// Idempotency-Key or X-Idempotency-Key header.
func IsIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := r.Header["Idempotency-Key"]
	_, xkey := r.Header["X-Idempotency-Key"]
	return key || xkey
}
