package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/examples/internal/store"
	"github.com/penstock/penstock/internal/apisim"
)

// program has the parts of the running gateway.
type program struct {
	options
	log   *slog.Logger
	store *store.Store
	rdb   *redis.Client
	sim   *apisim.Server // nil without -demo
	live  live

	metrics *metrics

	sum [sha256.Size]byte // of the file that is in use, or was refused

	draining atomic.Bool
}

// run serves until ctx ends, and then drains.
func run(ctx context.Context, o options) (err error) {
	p := &program{options: o, log: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	if p.store, err = store.Open(ctx, o.redis); err != nil {
		return err
	}
	defer p.store.Close()
	p.rdb = p.store.Connect()
	defer p.rdb.Close()
	if p.metrics, err = newMetrics(); err != nil {
		return err
	}
	if err := p.load(); err != nil {
		return err
	}
	if p.sim != nil {
		defer func() { _ = p.sim.Close() }()
		fmt.Println("provider", p.sim.URL())
	}
	all, cancel := context.WithCancel(context.WithoutCancel(ctx)) // of every request
	defer cancel()
	server, serving, err := p.serve(all, "gateway", o.listen, o.cert != "", unambiguous(p.health(&p.live)))
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if o.admin != "" {
		admin, _, err := p.serve(all, "admin", o.admin, false, p.adminHandler())
		if err != nil {
			return err
		}
		defer func() { _ = admin.Close() }()
	}
	go p.follow(ctx)
	select {
	case <-ctx.Done():
	case err := <-serving:
		return err
	}
	return p.drain(server, cancel)
}

// serve starts a server and prints its address.
func (p *program) serve(ctx context.Context, name, addr string, encrypted bool, h http.Handler) (*http.Server, <-chan error, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	scheme := "http"
	if encrypted {
		scheme = "https"
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{
		Handler: h, Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000},
		BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: withConn, ConnState: follow,
		ReadHeaderTimeout: p.headerTimeout, IdleTimeout: p.idle, MaxHeaderBytes: p.headers,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
	}
	guarded := limit(listener, p.connections, p.headers+4096)
	fmt.Println(name, at(scheme, listener.Addr().String()))
	done := make(chan error, 1)
	go func() {
		if encrypted {
			done <- s.ServeTLS(guarded, p.cert, p.key)
		} else {
			done <- s.Serve(guarded)
		}
	}()
	return s, done, nil
}

// drain ends the server: not ready, no new connection, all requests to their ends, permits back.
func (p *program) drain(server *http.Server, cancel func()) error {
	p.draining.Store(true)
	p.log.Info("draining", "delay", p.delay, "drain", p.options.drain)
	time.Sleep(p.delay)
	ctx, stop := context.WithTimeout(context.Background(), p.options.drain)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Shutdown(ctx) }() // it doesn't wait for upgraded connections; the generation does
	whole := <-ended == nil && p.live.end(ctx)
	if !whole {
		cancel()
		last, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		p.live.end(last)
	}
	err := p.live.current().close(context.Background())
	if !whole {
		return errors.Join(fmt.Errorf("requests were cut off after %v: raise -drain", p.options.drain), err)
	}
	p.log.Info("drained")
	return err
}

// load reads the configuration and lets it serve. An error changes nothing.
func (p *program) load() error {
	name, src := "demo.yaml", demoConfig
	if p.config != "" {
		var err error
		if src, err = os.ReadFile(p.config); err != nil {
			return err
		}
		name = p.config
	}
	p.sum = sha256.Sum256(src)
	s, err := readFile(name, src, p.lookup)
	if err != nil {
		return err
	}
	if p.demo && p.sim == nil {
		if p.sim, err = simulate(s.pools); err != nil {
			return err
		}
	} else if p.demo {
		if err := point(s.pools, p.sim); err != nil {
			return err
		}
	}
	log := p.log
	if !p.options.log {
		log = nil
	}
	next, err := newGeneration(p.rdb, s, log, p.metrics)
	if err != nil {
		return err
	}
	p.live.replace(next)
	return nil
}

// lookup returns an environment variable. With -demo a missing one has a value of its own, which is no secret.
func (p *program) lookup(name string) (string, bool) {
	v, ok := os.LookupEnv(name)
	if !ok && p.demo {
		return demoKey + "-" + name, true
	}
	return v, ok
}

// follow reads the configuration again on SIGHUP, and when the file has changed.
func (p *program) follow(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	var tick <-chan time.Time
	if p.watch > 0 && p.config != "" {
		t := time.NewTicker(p.watch)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		case <-tick:
			if src, err := os.ReadFile(p.config); err != nil || sha256.Sum256(src) == p.sum {
				continue
			}
		}
		if err := p.load(); err != nil {
			p.log.Error("the configuration stays as it is", "error", err.Error())
			continue
		}
		p.log.Info("the configuration is in use")
	}
}

// health serves /healthz and /readyz.
func (p *program) health(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			_, _ = io.WriteString(w, "ok\n")
		case "/readyz":
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			switch {
			case p.draining.Load():
				http.Error(w, "draining", http.StatusServiceUnavailable)
			case p.rdb.Ping(ctx).Err() != nil:
				http.Error(w, "Redis doesn't answer", http.StatusServiceUnavailable)
			default:
				_, _ = io.WriteString(w, "ready\n")
			}
		default:
			next.ServeHTTP(w, r)
		}
	})
}
