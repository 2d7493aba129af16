package prom

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache holds what has been resolved. Reads take no lock; a new entry copies the map. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	mu      sync.Mutex // held by writers
	entries atomic.Pointer[map[K]V]
}

func (c *cache[K, V]) get(key K) (V, bool) {
	if m := c.entries.Load(); m != nil {
		v, ok := (*m)[key]
		return v, ok
	}
	var none V
	return none, false
}

func (c *cache[K, V]) set(key K, v V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K]V{}
	if m := c.entries.Load(); m != nil {
		next = maps.Clone(*m)
	}
	next[key] = v
	c.entries.Store(&next)
	return v
}

// names are the first so many names.
type names struct {
	cache[string, struct{}]
	most int
}

// bound returns the name, or Other if there are too many.
func (n *names) bound(name string) string {
	if _, ok := n.get(name); ok || name == "" {
		return name
	}
	return n.add(name)
}

func (n *names) add(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := map[string]struct{}{}
	if m := n.entries.Load(); m != nil {
		if _, ok := (*m)[name]; ok {
			return name
		}
		if len(*m) >= n.most {
			return Other
		}
		next = maps.Clone(*m)
	}
	next[name] = struct{}{}
	n.entries.Store(&next)
	return name
}
