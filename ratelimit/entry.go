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
		tag := ""
		if l.tagged {
			tag = hashTag(full)
		}
		sh, ok := l.shards[tag]
		if !ok {
			sh = &shard{l: l, tag: tag}
			l.shards[tag] = sh
		}
		sh.entries++
		e = &entry{key: full, shard: sh}
		l.entries[full] = e
	}
	slot.Store(e)
	return e
}

// sweep removes the entries that are unused and at rest. The caller holds l.mu.
func (l *Limiter) sweep() {
	for key, e := range l.entries {
		if !e.drop() {
			continue
		}
		delete(l.entries, key)
		l.front[maphash.String(l.seed, key[len(l.cfg.Prefix):])%frontSize].CompareAndSwap(e, nil)
		if e.shard.entries--; e.shard.entries == 0 {
			delete(l.shards, e.shard.tag)
		}
	}
	l.sweepAt = max(sweepMin, 2*len(l.entries))
}

// drop marks the entry as evicted if it holds no state that is still needed.
func (e *entry) drop() bool {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	if e.uses > 0 || e.pendingAdjustments > 0 || e.state.TAT > e.shard.serverNow() {
		return false
	}
	e.evicted = true
	e.refusal.Store(nil)
	return true
}
