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
	// A cached refusal refills by the local clock, and not by the tests'.
	limiter, err := ratelimit.New(rdb, ratelimit.Config{RefusalTTL: -1})
	if err != nil {
		panic(err)
	}
	return &Server{Limiter: limiter, mini: mini}
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
