package caller

import (
	"sync"
	"sync/atomic"
)

const (
	// maxKnown bounds how many names something is remembered of.
	maxKnown = 256
	// maxName is the longest name that is remembered: models and endpoints come from requests.
	maxName = 256
)

// known remembers something of each name, for a bounded number of names: where there are too many, those go that were
// not asked for since the last ones went. Reading takes no lock. Ready for use as it is.
type known[V any] struct {
	byName atomic.Pointer[map[string]*entry[V]] // never changed, only replaced
	mu     sync.Mutex                           // for those who replace it
}

type entry[V any] struct {
	value V
	used  atomic.Bool // asked for, since some had to go
}

// find returns what is known of a name, nil if nothing is.
func (k *known[V]) find(name string) *V {
	all := k.byName.Load()
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

// get returns what is known of a name, and begins to remember it if it is new. It is nil for a name that is too long.
func (k *known[V]) get(name string) *V {
	if v := k.find(name); v != nil || len(name) > maxName {
		return v
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if v := k.find(name); v != nil {
		return v
	}
	old := k.byName.Load()
	next := map[string]*entry[V]{}
	if old != nil {
		k.keep(*old, next)
	}
	e := &entry[V]{}
	next[name] = e
	k.byName.Store(&next)
	return &e.value
}

// keep copies what is worth keeping, with room for one more.
func (k *known[V]) keep(old, next map[string]*entry[V]) {
	full := len(old) >= maxKnown
	for name, e := range old {
		if !full || e.used.Swap(false) && len(next) < maxKnown*3/4 {
			next[name] = e
		}
	}
}

// each calls f for everything that is known.
func (k *known[V]) each(f func(name string, v *V)) {
	if all := k.byName.Load(); all != nil {
		for name, e := range *all {
			f(name, &e.value)
		}
	}
}
