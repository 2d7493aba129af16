package ratelimit

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/scripts"
)

const (
	frontSize = 1024 // a power of two
	sweepMin  = 4096
)

// entry is the local state of one key. The shard's lock guards it, except for key, shard and refusal.
type entry struct {
	key   string // with prefix
	shard *shard

	refusal atomic.Pointer[refusal]

	state              scripts.GCRAState // the latest state received from Redis
	offset             offset            // between the clock that state is by and the local one
	batch              *batch            // the open batch that the entry was last added to
	index              int               // of the entry among the keys of batch
	last               *group            // the last group in batch that uses the entry
	uses               int               // unfinished batches that contain the entry
	pendingAdjustments int               // adjustments not yet applied, which may lower the state
	lastLoweredAt      time.Duration     // when an adjustment or a Reset last ended, since the Limiter's start
	outage             *outageUsage      // usage during the last outage of Redis; nil: none
	evicted            bool              // removed from Limiter.entries: look the key up again
}

// entry returns the entry of a key without prefix.
func (l *Limiter) entry(key string) *entry {
	slot := &l.front[maphash.String(l.seed, key)%frontSize]
	prefix := len(l.cfg.Prefix)
	if e := slot.Load(); e != nil && len(e.key) == prefix+len(key) && e.key[prefix:] == key {
		return e
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.cfg.Prefix + key
	e, ok := l.entries[full]
	if !ok {
		if len(l.entries) >= l.sweepAt {
			l.sweep()
		}
		e = &entry{key: full, shard: l.shard(full)}
		l.entries[full] = e
	}
	slot.Store(e)
	return e
}

// shardCount is the number of shards if keys need a common hash tag: enough that two busy tags rarely share one.
const shardCount = 4096

// shard returns the shard of a key with prefix. The caller holds l.mu.
func (l *Limiter) shard(key string) *shard {
	i := 0
	if l.tagged {
		i = int(maphash.String(l.seed, hashTag(key)) % shardCount)
	}
	if l.shards[i] == nil {
		l.shards[i] = &shard{l: l}
	}
	return l.shards[i]
}

// tag returns what the keys of a script call must have in common with e's; empty if nothing.
func (e *entry) tag() string {
	if !e.shard.l.tagged {
		return ""
	}
	return hashTag(e.key)
}

// node returns the node that holds the key.
func (e *entry) node() *node { return e.shard.l.nodes.of(e.key) }

// sweep removes the entries that are unused and at rest. The caller holds l.mu.
func (l *Limiter) sweep() {
	now := l.nodes.serverNow()
	for key, e := range l.entries {
		if !e.drop(now) {
			continue
		}
		delete(l.entries, key)
		l.front[maphash.String(l.seed, key[len(l.cfg.Prefix):])%frontSize].CompareAndSwap(e, nil)
	}
	l.sweepAt = max(sweepMin, 2*len(l.entries))
}

// drop marks the entry as evicted if it holds no state that is still needed.
func (e *entry) drop(now float64) bool {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	if e.uses > 0 || e.pendingAdjustments > 0 || e.state.TAT > now {
		return false
	}
	e.evicted = true
	e.refusal.Store(nil)
	return true
}
