package concurrency

import (
	"container/heap"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// loop is the one goroutine that holds the conversations of all semaphores of a Redis client. For each semaphore it sends
// one report at a time, grants what the reply allocates, and sleeps until the next report is due. Requests that arrive during
// a report are granted from what the process has, or wait together for the next report.
type loop struct {
	client   redis.UniversalClient // the key in loops
	listener *listener
	wakeup   chan struct{}

	mu    sync.Mutex
	ready []*Semaphore // to be looked at, each once

	members int // semaphores that haven't left; guarded by loops.mu

	due dueHeap // only the loop's goroutine uses it
}

// loops has the loop of each client with semaphores in use.
var loops = struct {
	mu       sync.Mutex
	byClient map[redis.UniversalClient]*loop
}{byClient: map[redis.UniversalClient]*loop{}}

// joinLoop returns the loop of a semaphore's client, and starts it for the first semaphore.
func joinLoop(s *Semaphore) *loop {
	client := nodeOf(s.rdb, s.cfg.Name)
	loops.mu.Lock()
	defer loops.mu.Unlock()
	shared := reflect.TypeOf(client).Comparable() // else it can't be a key
	var l *loop
	if shared {
		l = loops.byClient[client]
	}
	if l == nil {
		l = &loop{client: client, listener: newListener(client), wakeup: make(chan struct{}, 1)}
		if shared {
			loops.byClient[client] = l
		}
		go l.run()
	}
	l.members++
	return l
}

// nodeOf returns the client whose subscription gets the semaphore's messages. The shards of a Ring don't forward messages to
// each other.
func nodeOf(rdb redis.UniversalClient, name string) redis.UniversalClient {
	if ring, ok := rdb.(*redis.Ring); ok {
		if shard, err := ring.GetShardClientForKey(scripts.SemaphoreKey(name)); err == nil {
			return shard
		}
	}
	return rdb
}

// leave removes an ended semaphore, and reports whether it was the last.
func (l *loop) leave(s *Semaphore) bool {
	if s.dueAt >= 0 {
		heap.Remove(&l.due, s.dueAt)
	}
	if s.listening {
		l.listener.remove(s)
	}
	loops.mu.Lock()
	defer loops.mu.Unlock()
	l.members--
	if l.members > 0 {
		return false
	}
	if reflect.TypeOf(l.client).Comparable() {
		delete(loops.byClient, l.client)
	}
	l.listener.end()
	return true
}

// wake makes the loop look at the semaphore.
func (l *loop) wake(s *Semaphore) {
	l.mu.Lock()
	if !s.isReady {
		s.isReady = true
		l.ready = append(l.ready, s)
	}
	l.mu.Unlock()
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

func (l *loop) takeReady() []*Semaphore {
	l.mu.Lock()
	defer l.mu.Unlock()
	ready := l.ready
	for _, s := range ready {
		s.isReady = false
	}
	l.ready = nil
	return ready
}

func (l *loop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-l.wakeup:
		case <-timer.C:
		}
		ready := l.takeReady()
		for now := time.Now(); len(l.due) > 0 && !l.due[0].next.After(now); {
			s := l.due[0]
			heap.Pop(&l.due)
			ready = append(ready, s)
		}
		if slices.ContainsFunc(ready, l.look) {
			return
		}
		if len(l.due) > 0 {
			timer.Reset(max(time.Until(l.due[0].next), 0))
		}
	}
}

// look takes one step of a semaphore's conversation. It reports whether the loop has ended with it.
func (l *loop) look(s *Semaphore) bool {
	if s.ended { // a script call that was given up has ended after it
		return false
	}
	next, stop := s.step()
	if stop {
		s.ended = true
		s.wasLast = l.leave(s)
		close(s.done)
		return s.wasLast
	}
	s.next = next
	if s.dueAt < 0 {
		heap.Push(&l.due, s)
	} else {
		heap.Fix(&l.due, s.dueAt)
	}
	return false
}

// dueHeap orders semaphores by when the loop must look at them again.
type dueHeap []*Semaphore

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].dueAt, h[j].dueAt = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	s := x.(*Semaphore) //nolint:forcetypeassert // nothing else is pushed
	s.dueAt = len(*h)
	*h = append(*h, s)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	s.dueAt = -1
	return s
}
