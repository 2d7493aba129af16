// Package apisim is an HTTP provider for tests: OpenAI's chat completions and Anthropic's messages, with strict limits, and
// failures on demand.
//
// It judges the library by another method. The library paces calls with GCRA. apisim keeps a sliding log of every admission
// within a limit's period, so no half-open window (t-W, t] ever has more than the limit, and a client that comes a
// millisecond too early gets a 429. A Ledger reports what the server saw: admissions, refusals by reason, the peak of any
// window, calls served twice, calls on a revoked key.
//
//	sim, err := apisim.Start(apisim.Config{Accounts: []apisim.Account{{
//		ID:     "org-a",
//		Keys:   []apisim.Key{{ID: "k1", Secret: "sk-1"}},
//		Limits: []apisim.Limit{{Metric: apisim.Requests, Limit: 200, Per: 4 * time.Second}},
//	}}})
//	defer sim.Close()
//	... // POST sim.URL()+"/v1/chat/completions"
//	fmt.Println(sim.Ledger().Utilization(apisim.Requests))
//
// The life of a call:
//
//	| step | otherwise |
//	|---|---|
//	| its key is known and not revoked | 401 invalid_api_key |
//	| its account has the region and the model | 404 DeploymentNotFound, model_not_found |
//	| its account has credit | 429 insufficient_quota |
//	| all limits have room | 429 rate_limit_exceeded with Retry-After |
//	| it enters the logs, and is in flight | |
//	| it meets no injected failure, and no storm | see Failures |
//	| it takes its latency, leaves flight, and then the last bytes of its answer are written | |
//
// A client that sends its next call at the end of an answer therefore never has one call too many in flight.
//
// An ID distinguishes calls: the header Idempotency-Key, X-Request-Id or X-Client-Request-Id, or metadata.request_id in
// the body, the first that there is. The ledger can count calls that were served twice only if they have an ID.
//
// All methods of Server are safe for concurrent use.
package apisim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a running simulator.
type Server struct {
	cfg      Config
	start    time.Time
	listener net.Listener
	http     *http.Server
	stop     context.CancelFunc
	served   chan struct{} // closed when the listener's goroutine has ended

	accounts []*account
	keysLock sync.RWMutex
	keys     map[string]*key // by secret

	settings atomic.Pointer[settings]
	change   sync.Mutex // of settings
	sequence atomic.Uint64
	admitted atomic.Int64
	unknown  atomic.Int64 // calls with an unknown key
	gone     atomic.Int64 // calls whose client closed the connection before the response
	calls    calls

	closing  sync.RWMutex
	closed   bool
	handlers sync.WaitGroup
}

// settings can change while the server runs.
type settings struct {
	failures Failures
	latency  Latency
	storm    storm
}

// storm is a time in which every call meets one kind of failure.
type storm struct {
	kind  Kind
	until time.Duration // on the server's clock
}

// Start runs a simulator until Close. It returns an error for an invalid configuration, or for an address in use.
func Start(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	s := &Server{cfg: cfg, start: time.Now(), keys: map[string]*key{}, served: make(chan struct{})}
	for _, a := range cfg.Accounts {
		acc := newAccount(a, s.now)
		s.accounts = append(s.accounts, acc)
		for _, k := range a.Keys {
			s.keys[k.Secret] = &key{id: k.ID, account: acc, counts: newCounts()}
		}
	}
	s.settings.Store(&settings{failures: cfg.Failures, latency: cfg.Latency})

	var err error
	if s.listener, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("apisim: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.http = &http.Server{
		Handler:           s.routes(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: time.Minute,
	}
	go func() {
		defer close(s.served)
		_ = s.http.Serve(s.listener) // ends with ErrServerClosed
	}()
	return s, nil
}

// URL returns the server's address, such as http://127.0.0.1:40123, without a path.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close ends the server and every call in flight, and waits for them. The ledger stays readable. It may be repeated.
func (s *Server) Close() error {
	s.closing.Lock()
	already := s.closed
	s.closed = true
	s.closing.Unlock()
	if already {
		return nil
	}
	s.stop()
	err := s.http.Close()
	<-s.served
	s.handlers.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("apisim: close: %w", err)
	}
	return nil
}

// enter counts a handler in; it reports false once the server is closing.
func (s *Server) enter() bool {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return false
	}
	s.handlers.Add(1)
	return true
}

// now returns the time since the start, on the monotonic clock.
func (s *Server) now() time.Duration { return time.Since(s.start) }
