// Package fakeredis starts an embedded Redis whose clock the adapters of foreign test suites set.
package fakeredis

import (
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/ratelimit"
)

// Server is a Redis with a clock of its own, and a Limiter on it.
type Server struct {
	Limiter *ratelimit.Limiter
	rdb     *redis.Client
	mini    *miniredis.Miniredis
	mu      sync.Mutex
	now     time.Time
}

// New starts a server. It ends with the test binary.
func New() *Server {
	if !testing.Testing() {
		panic("fakeredis is for tests")
	}
	mini := miniredis.NewMiniRedis()
	if err := mini.Start(); err != nil {
		panic(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: mini.Addr()})
	s := &Server{rdb: rdb, mini: mini}
	s.Limiter = s.Fresh()
	return s
}

// Fresh returns a Limiter that has seen no reply. A test whose clock stands still for more than a second needs one for each call,
// because to a Limiter that has seen an earlier reply the clock was set back.
func (s *Server) Fresh() *ratelimit.Limiter {
	// A cached refusal refills by the local clock, and not by the tests'.
	limiter, err := ratelimit.New(s.rdb, ratelimit.Config{RefusalTTL: -1})
	if err != nil {
		panic(err)
	}
	return limiter
}

// Set moves the clock forward to t. An earlier time has no effect.
func (s *Server) Set(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.After(s.now) {
		s.now = t
		s.mini.SetTime(t)
	}
}
