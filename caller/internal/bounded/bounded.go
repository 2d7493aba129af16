// Package bounded has a map from names to values that holds a bounded number of names.
package bounded

import (
	"sync"
	"sync/atomic"
)

const (
	// MaxNames is the largest number of names in a Map.
	MaxNames = 256
	// MaxNameLength is the longest name in a Map, in bytes.
	MaxNameLength = 256
)

// Map holds a value for each of at most MaxNames names. If it is full, a new name evicts the names that were not read
// since the last eviction. Reading takes no lock. The zero Map is empty and ready to use. Safe for concurrent use.
type Map[V any] struct {
	byName atomic.Pointer[map[string]*entry[V]] // a map is replaced, never changed
	mu     sync.Mutex                           // held while byName is replaced
}

type entry[V any] struct {
	value V
	used  atomic.Bool // read since the last eviction
}

// Find returns the value of a name, or nil if the map doesn't hold the name.
func (m *Map[V]) Find(name string) *V {
	all := m.byName.Load()
	if all == nil {
		return nil
	}
	e := (*all)[name]
	if e == nil {
		return nil
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return &e.value
}

// Get returns the value of a name. If the name is new, Get adds it with a zero value. It returns nil for a name that is
// longer than MaxNameLength.
func (m *Map[V]) Get(name string) *V {
	if v := m.Find(name); v != nil || len(name) > MaxNameLength {
		return v
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.Find(name); v != nil {
		return v
	}
	next := map[string]*entry[V]{}
	if old := m.byName.Load(); old != nil {
		retain(*old, next)
	}
	e := &entry[V]{}
	next[name] = e
	m.byName.Store(&next)
	return &e.value
}

// retain copies the entries that stay to next, and leaves room for at least one more.
func retain[V any](old, next map[string]*entry[V]) {
	full := len(old) >= MaxNames
	for name, e := range old {
		if !full || e.used.Swap(false) && len(next) < MaxNames*3/4 {
			next[name] = e
		}
	}
}

// Each calls f for each name and its value, in no order.
func (m *Map[V]) Each(f func(name string, v *V)) {
	if all := m.byName.Load(); all != nil {
		for name, e := range *all {
			f(name, &e.value)
		}
	}
}
