// Package apisim is an HTTP provider for tests: OpenAI's chat completions and Anthropic's messages, with limits that are
// enforced strictly, and failures on demand.
//
// It counts by another method than the library, so that it can judge the library. The library paces calls with GCRA; apisim
// keeps a sliding log of every admission within a limit's period. So no half-open window (t-W, t] ever admits more than the
// limit, and a call that is a millisecond early gets a 429. Its Ledger reports admissions, refusals by reason, the peak of
// any window, calls served twice, and calls with a revoked key.
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
// A call passes these steps:
//
//  1. Its key is known and not revoked; else 401.
//  2. Its account has credit; else 429 insufficient_quota.
//  3. All limits have capacity; else 429 rate_limit_exceeded with Retry-After.
//  4. It enters the logs and is in flight.
//  5. It may get an injected failure, and takes its latency.
//  6. It is no longer in flight. Only then the last bytes of its response are written, so that a client that sends its next
//     call at the end of a response never exceeds the concurrency.
//
// A call has an ID: the first of the headers Idempotency-Key, X-Request-Id and X-Client-Request-Id, and metadata.request_id
// in the body. Only calls with an ID can be counted as served twice.
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
}

// Start runs a simulator until Close. It returns an error for an invalid configuration, or if the address is in use.
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
