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

// entry is what this process knows of one key. Its shard's lock guards it, but for key, shard and exhausted.
type entry struct {
	key   string // in Redis
	shard *shard

	refusal atomic.Pointer[refusal]

	state              scripts.GCRAState // the latest seen
	offset             offset            // of the clock by which state is
	batch              *batch            // the gathering batch that the entry was last put into
	index              int               // of the entry among the keys of batch
	last               *group            // the last group in batch that touches the entry
	uses               int               // unfinished batches and adjustments that the entry is in
	pendingAdjustments int               // adjustments under way that may lower the state
	lastLoweredAt      time.Duration     // when the last of them, or a Reset, was over, since the Limiter's start
	outage             *outageUsage      // what was used when Redis was away last; nil: nothing
	evicted            bool              // swept out: look the key up again
}

// entry returns the entry of the caller's key.
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

// sweep drops the entries that hold nothing worth remembering: limits that are at rest by now, and not in use. The
// caller holds l.mu.
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

// drop marks the entry as dead if nothing would be lost with it.
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
