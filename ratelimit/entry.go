package ratelimit

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/scripts"
)

// entry is the local state of one key while calls use it. The shard's lock guards it, except for key, digest, shard,
// used and refusal. The Limiter's lock guards position.
type entry struct {
	key    string // with prefix
	digest digest
	shard  *shard

	position int                     // in Limiter.entries
	used     atomic.Bool             // looked up since the last try to evict it
	refusal  atomic.Pointer[refusal] // nil: none

	state              scripts.GCRAState // the latest state received from Redis
	offset             offset            // between the clock that state is by and the local one
	batch              *batch            // the batch that the entry was last added to; nil: that batch has ended
	index              int               // of the entry among the keys of batch
	last               *group            // the last group in batch that uses the entry
	uses               int               // unfinished batches and Resets that contain the entry
	pendingAdjustments int               // adjustments not yet applied, which may lower the state
	lastLoweredAt      time.Duration     // when an adjustment or a Reset last ended, since the Limiter's start
	outage             *outageUsage      // usage during the last outage of Redis; nil: none
	holes              []*hole           // refunds of bookings in the future
	evicted            bool              // removed from Limiter.entries: look the key up again
}

// digest identifies a key. Two of n keys share a digest with a probability of n²/2^129. The seeds are random, so keys can't be
// chosen to share one.
type digest [2]uint64

// frontSize is the size of the cache of entries. It is a power of two.
const frontSize = 1024

// entry returns the entry of a key without prefix.
func (l *Limiter) entry(key string) *entry {
	d := digest{maphash.String(l.seeds[0], key)}
	slot := &l.front[d[0]%frontSize]
	prefix := len(l.cfg.Prefix)
	if e := slot.Load(); e != nil && len(e.key) == prefix+len(key) && e.key[prefix:] == key {
		e.markUsed()
		return e
	}
	d[1] = maphash.String(l.seeds[1], key)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byDigest[d]
	if e == nil {
		e = l.addEntry(d, l.cfg.Prefix+key)
	}
	e.markUsed()
	slot.Store(e)
	return e
}

// markUsed delays the entry's eviction. It writes only if it must, because all callers of a key share the cache line.
func (e *entry) markUsed() {
	if !e.used.Load() {
		e.used.Store(true)
	}
}

// addEntry adds the entry of a key with prefix. The caller holds l.mu.
func (l *Limiter) addEntry(d digest, key string) *entry {
	l.makeRoom()
	e := &entry{key: key, digest: d, shard: l.shard(key), position: len(l.entries)}
	if s, ok := l.stored.get(d); ok {
		e.state, e.offset = s.state, s.offset()
	}
	l.byDigest[d] = e
	l.entries = append(l.entries, e)
	l.sweepSoon()
	return e
}

// shardCount is the number of shards if keys need a common hash tag: enough that two busy tags rarely share one.
const shardCount = 4096

// shard returns the shard of a key with prefix. The caller holds l.mu.
func (l *Limiter) shard(key string) *shard {
	i := 0
	if l.tagged {
		i = int(maphash.String(l.seeds[0], hashTag(key)) % shardCount)
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
