// Package memstore has the store that throttled's tests wrap. It keeps nothing.
package memstore

import (
	"context"
	"time"
)

// Store keeps nothing.
type Store struct{}

// NewCtx returns a Store.
func NewCtx(int) (Store, error) { return Store{}, nil }

// GetWithTime returns the time.
func (Store) GetWithTime(context.Context, string) (int64, time.Time, error) {
	return -1, time.Now(), nil
}

// SetIfNotExistsWithTTL does nothing.
func (Store) SetIfNotExistsWithTTL(context.Context, string, int64, time.Duration) (bool, error) {
	return true, nil
}

// CompareAndSwapWithTTL does nothing.
func (Store) CompareAndSwapWithTTL(context.Context, string, int64, int64, time.Duration) (bool, error) {
	return true, nil
}
