// Package apisim is an HTTP provider for tests: OpenAI's chat completions and Anthropic's messages, with limits that are
// enforced strictly, and failures on demand.
//
// It judges the library by a method of its own. Where the library paces calls with GCRA, apisim keeps a sliding log:
// every admission of the last minute (or whatever a limit says) by itself, so that in no half-open window (t-W, t] more
// than the limit is ever let through, and a client that comes a millisecond too early is told so with a 429. What it
// saw it reports in a Ledger: admissions, refusals by reason, the peak of any window, calls served twice, calls on a
// key that was revoked.
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
// A call's life: its key is known and not revoked (else 401), its account has credit (429 insufficient_quota), all
// limits have room (429 rate_limit_exceeded with Retry-After), it enters the logs and is in flight, it may meet an
// injected failure, it takes its latency, it leaves flight, and only then the last bytes of its answer are written: a
// client that lets its next call go at the end of the answer is never one too many.
//
// Calls are told apart by an ID: the header Idempotency-Key, X-Request-Id or X-Client-Request-Id, or metadata.request_id in
// the body, the first that there is. Only calls with an ID can be found out as served twice.
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
	keys     map[string]*key // by secret

	settings atomic.Pointer[settings]
	change   sync.Mutex // of settings
	sequence atomic.Uint64
	admitted atomic.Int64
	unknown  atomic.Int64 // calls with an unknown key
	gone     atomic.Int64 // calls whose client left before the answer
	calls    calls

	closing  sync.RWMutex
	closed   bool
	handlers sync.WaitGroup
}

// settings are what may change while the server runs.
type settings struct {
	failures Failures
	latency  Latency
}

// Start runs a simulator until Close. It returns an error for a configuration that makes no sense or an address that
// is taken.
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
