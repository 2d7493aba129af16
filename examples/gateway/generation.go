package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/caller/status"
)

// generation is what one reading of the configuration made: pools, and the handler over them.
type generation struct {
	pools   map[string]*caller.Pool
	bases   []*http.Transport
	handler *gateway.Gateway
	status  map[string]http.Handler // by pool

	mu      sync.Mutex
	serving int
	retired bool
	empty   chan struct{} // closed when it is retired and serves nothing
}

func newGeneration(rdb redis.UniversalClient, s *settings, log *slog.Logger, m *metrics) (_ *generation, err error) {
	g := &generation{pools: map[string]*caller.Pool{}, empty: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(context.Background()))
		}
	}()
	var pools []gateway.Pool
	for _, p := range s.pools {
		p.Caller.Hooks = caller.JoinHooks(p.Caller.Hooks, gateway.Hooks(), m.pools.Hooks(p.Caller.Name))
		pool, err := caller.New(rdb, p.Caller)
		if err != nil {
			return nil, err
		}
		if g.pools[p.Caller.Name] != nil {
			return nil, errors.Join(fmt.Errorf("two pools have the name %q: rename one", p.Caller.Name), pool.Close(context.Background()))
		}
		g.pools[p.Caller.Name] = pool
		base := caller.NewHTTPTransport(0)
		base.DisableCompression = true
		g.bases = append(g.bases, base)
		pools = append(pools, gateway.Pool{
			Name: p.Caller.Name, Caller: pool, BaseURL: p.BaseURL, Profile: p.Caller.Profile, Base: base,
		})
	}
	cfg := s.gateway
	cfg.Redis = rdb
	cfg.Ended = func(e gateway.Event) {
		m.ended(&e)
		if log != nil {
			log.Info("request", "client", e.Client, "pool", e.Pool, "model", e.Model, "key", e.Key, "method", e.Method, "path", e.Path,
				"status", e.Status, "refused", e.Refused, "attempts", e.Attempts, "waited", e.Waited, "took", e.Took)
		}
	}
	if g.handler, err = gateway.New(pools, cfg); err != nil {
		return g, err
	}
	g.status = map[string]http.Handler{}
	for name, pool := range g.pools {
		g.status[name] = status.Handler(pool, status.ShowClients(g.clients))
	}
	return g, nil
}

// clients returns what the clients used today.
func (g *generation) clients(ctx context.Context) ([]status.Client, error) {
	usage, err := g.handler.Usage(ctx)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	var all []status.Client
	for _, u := range usage {
		if u.Day.Equal(today) {
			all = append(all, status.Client{
				Name: u.Client, Model: u.Model, Requests: u.Requests, InputTokens: u.InputTokens, OutputTokens: u.OutputTokens,
				Dollars: float64(u.Microdollars) / 1e6,
			})
		}
	}
	return all, err
}

// enter counts a request in. It reports false if the generation is retired.
func (g *generation) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired {
		return false
	}
	g.serving++
	return true
}

func (g *generation) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.serving--; g.retired && g.serving == 0 {
		close(g.empty)
	}
}

// retire takes no more requests. empty is closed when the last has ended.
func (g *generation) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.retired {
		g.retired = true
		if g.serving == 0 {
			close(g.empty)
		}
	}
}

// close returns the permits of all pools.
func (g *generation) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var errs []error
	if g.handler != nil {
		errs = append(errs, g.handler.Close(ctx))
	}
	for _, p := range g.pools {
		errs = append(errs, p.Close(ctx))
	}
	for _, b := range g.bases {
		b.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

// live is the handler of the generation in use.
type live struct {
	mu      sync.Mutex
	now     *generation
	retired sync.WaitGroup // generations that still serve
}

func (l *live) current() *generation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// ServeHTTP serves a request by the generation in use, to its end.
func (l *live) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := l.current()
	for !g.enter() { // it was replaced a moment ago, or all is over
		next := l.current()
		if next == g {
			http.Error(w, "the gateway is closing", http.StatusServiceUnavailable)
			return
		}
		g = next
	}
	defer g.leave()
	g.handler.ServeHTTP(w, r)
}

// replace lets another generation serve new requests. The former ends with its last request.
func (l *live) replace(next *generation) {
	l.mu.Lock()
	former := l.now
	l.now = next
	l.mu.Unlock()
	if former == nil {
		return
	}
	former.retire()
	l.retired.Go(func() {
		<-former.empty
		_ = former.close(context.Background())
	})
}

// end retires the generation in use and waits for all requests until ctx ends. It reports whether all have ended.
func (l *live) end(ctx context.Context) bool {
	g := l.current()
	g.retire()
	select {
	case <-g.empty:
	case <-ctx.Done():
		return false
	}
	done := make(chan struct{})
	go func() { l.retired.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// at returns the address where a server on addr is reached.
func at(scheme, addr string) string { return (&url.URL{Scheme: scheme, Host: addr}).String() }
