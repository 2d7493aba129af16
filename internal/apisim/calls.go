package apisim

import "sync"

// calls counts how often each call, by its ID, was served. It has shards, each with its own lock.
type calls [64]struct {
	mu   sync.Mutex
	byID map[uint64]*record
}

// record has the counts of one call.
type record struct {
	attempts int // admitted
	served   int
	injected int // failures
}

// attempts returns how often the call was admitted.
func (c *calls) attempts(id uint64) int { return c.update(id, func(*record) {}).attempts }

func (c *calls) update(id uint64, f func(*record)) record {
	shard := &c[id%uint64(len(c))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.byID == nil {
		shard.byID = make(map[uint64]*record)
	}
	r := shard.byID[id]
	if r == nil {
		r = new(record)
		shard.byID[id] = r
	}
	f(r)
	return *r
}

// doubled returns how many calls there were, how many of them were served more than once, and how many more often than
// the failures that were injected explain.
func (c *calls) doubled() (all, twice, unexplained int64) {
	for i := range c {
		shard := &c[i]
		shard.mu.Lock()
		for _, r := range shard.byID {
			all++
			if r.served > 1 {
				twice++
			}
			if r.served > 1+r.injected {
				unexplained++
			}
		}
		shard.mu.Unlock()
	}
	return all, twice, unexplained
}
