package gateway

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/caller"
)

// exchange is one request at the gateway and its answer.
type exchange struct {
	gateway *Gateway
	in      *http.Request // as the client sent it
	body    *body
	route   *route
	client  *client // nil: the gateway has no clients
	model   string
	begun   time.Time
	event   Event
	limited bool    // the client itself bounds the wait
	certain bool    // an empty model means that the request has none
	ticket  *ticket // charged against the client's caps; nil: nothing

	mu       sync.Mutex // of what follows: attempts of a hedge run side by side
	secrets  []string
	key      string
	attempts int
	running  int       // attempts in flight
	idle     time.Time // since when none is
	waited   time.Duration
	usage    tokensUsed
	leave    func() // takes the call off its client's queue; nil: it isn't in one
}

type exchangeKey struct{}

func exchangeFrom(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// upstream is a checked Pool: its Transport, and the base that this sends attempts by.
type upstream struct {
	Pool
	transport *caller.Transport
}

func newUpstream(p Pool, buffer int64) *upstream {
	u := &upstream{Pool: p}
	if u.Base == nil {
		base := caller.NewHTTPTransport(0)
		base.DisableCompression = true // answers pass through as they are
		u.Base = base
	}
	if u.Profile.ErrorBody == nil {
		u.Profile.ErrorBody = caller.ErrorBody
	}
	u.transport = p.Caller.Transport(u, caller.TransportConfig{MaxBuffered: buffer})
	return u
}

// RoundTrip sends one attempt, below the pool's Transport.
func (u *upstream) RoundTrip(attempt *http.Request) (*http.Response, error) {
	x := exchangeFrom(attempt.Context())
	x.attempt(attempt)
	if len(x.in.Trailer) > 0 {
		attempt.Trailer = x.in.Trailer // read with the end of the body
		attempt.ContentLength = -1
	}
	res, err := u.Base.RoundTrip(attempt)
	x.attempted()
	return res, err
}

// CloseIdleConnections closes the idle connections of Base.
func (u *upstream) CloseIdleConnections() {
	if c, ok := u.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// attempt notes that an attempt begins.
func (x *exchange) attempt(r *http.Request) {
	grant := caller.GrantFrom(r.Context())
	secrets := secretsIn(r, grant)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running == 0 {
		x.waited += time.Since(x.idle)
	}
	x.running++
	x.attempts++
	if grant != nil {
		x.key = grant.Key
	}
	for _, s := range secrets {
		if !slices.Contains(x.secrets, s) {
			x.secrets = append(x.secrets, s)
		}
	}
	if x.leave != nil {
		x.leave()
		x.leave = nil
	}
}

// attempted notes that an attempt has the head of its answer, or an error.
func (x *exchange) attempted() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running--; x.running == 0 {
		x.idle = time.Now()
	}
}

// seenSecrets returns the secrets of the keys that the exchange's attempts had.
func (x *exchange) seenSecrets() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.secrets
}

// outcome returns what the exchange knows of its attempts now. A call without an answer waits to the end.
func (x *exchange) outcome(answered bool) (key string, waited time.Duration, attempts int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	waited = x.waited
	if !answered && x.running == 0 {
		waited += time.Since(x.idle)
	}
	return x.key, waited, x.attempts
}
