package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller"
)

// Gateway is an http.Handler that makes each request a call of a pool. It is safe for concurrent use.
type Gateway struct {
	cfg    Config
	pools  map[string]*upstream
	routes []route
	proxy  *httputil.ReverseProxy

	directory *directory // nil: there are no clients
	ledger    *ledger    // nil: usage isn't counted

	inFlight atomic.Int64
}

// New returns the handler for the pools. It checks the whole configuration. The pools stay the caller's, who closes them
// when the handler's requests have ended.
func New(pools []Pool, cfg Config) (*Gateway, error) {
	if err := checkPools(pools); err != nil {
		return nil, err
	}
	cfg, err := cfg.withDefaults(pools)
	if err != nil {
		return nil, err
	}
	g := &Gateway{cfg: cfg, pools: map[string]*upstream{}}
	if g.directory, err = newDirectory(cfg.Clients); err != nil {
		return nil, err
	}
	if g.directory != nil && g.directory.capped && cfg.Redis == nil {
		return nil, errors.New("Config.Redis is nil, and a client has a cap: give the Redis that counts it")
	}
	for _, p := range pools {
		g.pools[p.Name] = newUpstream(p, cfg.Buffer)
	}
	for _, r := range cfg.Routes {
		if err := r.check(g.pools); err != nil {
			return nil, err
		}
		g.routes = append(g.routes, route{r, g.pools[r.Pool]})
	}
	g.proxy = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      transport{},
		ModifyResponse: modify,
		ErrorHandler:   fail,
		BufferPool:     &buffers{},
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what ends an answer stands in Config.Ended
	}
	if g.directory != nil && cfg.Redis != nil {
		g.ledger = newLedger(cfg.Redis, cfg.Name, cfg.KeepDays)
	}
	return g, nil
}

// Close sends the clients' usage that isn't in Redis yet, until ctx ends. Close the handler's server first: calls of clients
// with caps are refused from then on. Without Config.Redis and Config.Clients it does nothing.
func (g *Gateway) Close(ctx context.Context) error {
	if g.ledger == nil {
		return nil
	}
	return g.ledger.close(ctx)
}

// InFlight returns the number of requests that are served now, streams and upgraded connections included.
func (g *Gateway) InFlight() int { return int(g.inFlight.Load()) }

// ServeHTTP serves one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.inFlight.Add(1)
	defer g.inFlight.Add(-1)
	paced := g.newPacedWriter(w)
	now := time.Now()
	x := &exchange{gateway: g, begun: now, idle: now, event: Event{Method: r.Method, Path: r.URL.Path}}
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)) // a copy: the server looks at its own request's body
	x.in = r
	defer x.end(paced)
	options, refused := x.examine(paced, r)
	if refused != nil {
		x.refuse(paced, refused)
		return
	}
	g.proxy.ServeHTTP(paced, r.WithContext(caller.WithOptions(r.Context(), options)))
}

// examine finds out who wants what, and where it goes.
func (x *exchange) examine(w http.ResponseWriter, r *http.Request) (caller.Options, *refusal) {
	g := x.gateway
	if hasDots(r) {
		return caller.Options{}, badRequest("the path has a segment . or ..: leave it out")
	}
	if refused := x.identify(r); refused != nil {
		return caller.Options{}, refused
	}
	o, refused := wishes(r.Header)
	if refused != nil {
		return o, refused
	}
	x.limited = o.MaxWait > 0 || o.Timeout > 0
	if g.cfg.MaxWait > 0 && (o.MaxWait == 0 || o.MaxWait > g.cfg.MaxWait) {
		o.MaxWait = g.cfg.MaxWait
		x.limited = o.Timeout > 0
	}
	if refused = x.locate(w, r); refused != nil || x.client == nil {
		return o, refused
	}
	o.Priority = min(o.Priority, x.client.Ceiling)
	o.Tenant = x.client.Name
	if x.leave, refused = x.client.enter(); refused == nil {
		refused = x.charge(r)
	}
	return o, refused
}

// locate reads the request's body as far as is needed, and finds its model and route.
func (x *exchange) locate(w http.ResponseWriter, r *http.Request) (refused *refusal) {
	g := x.gateway
	needModel := g.needsModel() || x.client != nil && x.client.needsModel()
	if x.body, refused = g.readBody(w, r, needModel); refused != nil {
		return refused
	}
	x.certain = true
	if needModel {
		var names []string
		names, x.certain = models(r, x.body, g.forPath(r.URL.Path).to.Profile)
		if len(names) > 1 {
			return badRequest("the request names more than one model: name one")
		}
		if len(names) == 1 {
			x.model = names[0]
		} else if !x.certain && g.needsModel() {
			return badRequest("the model isn't in the beginning of the body: put it first, uncompressed")
		}
	}
	if x.route = g.find(r.URL.Path, x.model); x.route == nil {
		return &refusal{status: http.StatusNotFound, code: "no_route", text: "no route has this path and model: correct them or the routes"}
	}
	if x.client != nil {
		return x.client.permit(x.model, x.certain)
	}
	return nil
}

// end reports the exchange.
func (x *exchange) end(w *pacedWriter) {
	w.end()
	x.mu.Lock()
	leave := x.leave
	x.leave = nil
	x.mu.Unlock()
	if leave != nil {
		leave()
	}
	x.settle(w.status)
	hook := x.gateway.cfg.Ended
	if hook == nil {
		return
	}
	e := &x.event
	e.Status, e.Model, e.Took = w.status, x.model, time.Since(x.begun)
	e.Key, e.Waited, e.Attempts = x.outcome(true)
	if x.route != nil {
		e.Pool = x.route.Pool
	}
	hook(*e)
}

// transport sends each request by the Transport of its route's pool.
type transport struct{}

func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return exchangeFrom(r.Context()).route.to.transport.RoundTrip(r)
}

// rewrite makes the provider's request of the client's.
func rewrite(p *httputil.ProxyRequest) {
	x := exchangeFrom(p.In.Context())
	p.Out.URL = x.route.url(p.Out.URL)
	p.Out.Host = ""
	cleanHead(p.Out.Header)
}

// modify makes the client's answer of the provider's.
func modify(res *http.Response) error {
	x := exchangeFrom(res.Request.Context())
	key, waited, attempts := x.outcome(true)
	secrets := x.seenSecrets()
	maskHead(res.Header, secrets)
	if at := res.Header.Get("Location"); at != "" {
		res.Header.Set("Location", x.route.location(at))
	}
	res.Header.Del("Set-Cookie") // a client's cookies aren't sent either
	setOutcome(res.Header, key, waited, attempts)
	if res.StatusCode != http.StatusSwitchingProtocols && len(secrets) > 0 {
		res.Body = newMaskedBody(res.Body, secrets)
	}
	return nil
}

// fail answers a request whose call has failed.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeFrom(r.Context())
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) { // the client has left, or the server ends
		x.refuse(w, &refusal{status: http.StatusServiceUnavailable, code: "canceled", text: "the request was cancelled"})
		return
	}
	if f := bodyFailure(err, x.gateway.cfg.MaxBody); f != nil {
		x.refuse(w, f)
		return
	}
	x.refuse(w, failed(err, x.limited))
}

// bufferSize is the size of the buffers that answers are copied by. A stream has one while it lasts.
const bufferSize = 4 << 10

// buffers is a pool of buffers.
type buffers struct{ pool sync.Pool }

// Get returns a buffer.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put takes a buffer back.
func (b *buffers) Put(p []byte) {
	if len(p) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(p))
	}
}
