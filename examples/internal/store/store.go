// Package store connects the examples to a Redis: a real one by URL, or one embedded in the process.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Store is a Redis to connect to.
type Store struct {
	url      string
	options  redis.Options
	embedded *miniredis.Miniredis
}

// Open returns the Redis at a URL, redis://[user:password@]host:port/db, after a ping. An empty URL starts an embedded one.
// Errors leave out the URL, which may hold a password.
func Open(ctx context.Context, url string) (*Store, error) {
	if url == "" {
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			return nil, fmt.Errorf("embedded Redis: %w", err)
		}
		return &Store{url: "redis://" + m.Addr(), options: redis.Options{Addr: m.Addr(), ContextTimeoutEnabled: true}, embedded: m}, nil
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("-redis is not a URL such as redis://localhost:6379/0 or rediss://user:password@host:6380")
	}
	options.ContextTimeoutEnabled = true
	logging.Disable() // go-redis would write to standard error, in the middle of the progress bar
	s := &Store{url: url, options: *options}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rdb := s.Connect()
	defer rdb.Close()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("no answer from the Redis at %s: %w", options.Addr, err)
	}
	return s, nil
}

// Embedded reports whether the Redis is embedded in this process.
func (s *Store) Embedded() bool { return s.embedded != nil }

// URL returns the URL of the Redis for other processes. It may hold a password.
func (s *Store) URL() string { return s.url }

// Connect returns a new client, which the caller closes.
func (s *Store) Connect() *redis.Client {
	options := s.options
	return redis.NewClient(&options)
}

// Close stops an embedded Redis.
func (s *Store) Close() {
	if s.embedded != nil {
		s.embedded.Close()
	}
}
