package concurrency

import (
	"context"

	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// listen subscribes to the semaphore's channels until ctx ends. A message is a hint that a report may change something. If
// a message is lost, the next poll or heartbeat replaces it.
func (s *Semaphore) listen(ctx context.Context) {
	defer close(s.listenerDone)
	ps := s.rdb.Subscribe(ctx, scripts.SemaphoreChannel(s.cfg.Name, s.id), scripts.SemaphoreKey(s.cfg.Name))
	// PubSub.Close waits for a dial in progress, which may take long. So it runs on a goroutine of its own.
	defer context.AfterFunc(ctx, func() { _ = ps.Close() })()
	for m := range ps.ChannelWithSubscriptions() {
		switch m := m.(type) {
		case *redis.Subscription:
			s.reportSoon() // messages sent before the subscription are lost
		case *redis.Message:
			if m.Payload != s.id {
				s.reportSoon()
			}
		}
	}
}

// reportSoon makes the loop report now if the session has permits or waiters.
func (s *Semaphore) reportSoon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session.alloc == 0 && s.session.used == 0 && s.queue.head() == nil {
		return
	}
	s.session.contended, s.session.reportNow = true, true
	s.signal()
}
