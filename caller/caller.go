// Package caller shares the quota of several API keys among many replicas.
package caller

import (
	"context"
	"net/http"

	"github.com/redis/go-redis/v9"
)

// Caller makes calls with the keys of one pool.
type Caller struct{}

// New joins the pool.
func New(rdb redis.UniversalClient, cfg Config) (*Caller, error) { return &Caller{}, nil }

// Grant is what an admitted call gets.
type Grant struct {
	Key     string // key ID
	Account string
	Attempt int // from 1
}

// Secret returns the key's secret.
func (g *Grant) Secret() string { return "" }

// Do makes one call.
func Do[T any](ctx context.Context, c *Caller, cost Cost, call func(context.Context, *Grant) (T, error)) (T, error) {
	var zero T
	return zero, nil
}

// Transport returns a RoundTripper that makes every request a call of the pool. base nil: a tuned http.Transport.
func (c *Caller) Transport(base http.RoundTripper) http.RoundTripper { return base }

// Stats counts what this Caller did.
type Stats struct {
	// Binding is the constraint that held calls back for most of the time: a metric's name, "concurrency", or empty.
	Binding string
}

// Stats returns the counts so far.
func (c *Caller) Stats() Stats { return Stats{} }

// Close gives every permit back, ends all waiters, and leaves the pool.
func (c *Caller) Close(ctx context.Context) error { return nil }
