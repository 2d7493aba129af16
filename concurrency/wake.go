package concurrency

import (
	"context"

	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// listen subscribes to the channels on which Redis says that it is worth asking, until ctx ends. A message is a hint:
// whatever it would have told, the next poll or heartbeat finds out.
func (s *Semaphore) listen(ctx context.Context) {
	defer close(s.deaf)
	ps := s.rdb.Subscribe(ctx, scripts.SemaphoreChannel(s.name, s.id), scripts.SemaphoreKey(s.name))
	// Closing waits for a connection that is being made, which may take long: nobody should wait for it.
	defer context.AfterFunc(ctx, func() { _ = ps.Close() })()
	for m := range ps.ChannelWithSubscriptions() {
		switch m := m.(type) {
		case *redis.Subscription:
			s.hint() // whatever was sent before is lost
		case *redis.Message:
			if m.Payload != s.id {
				s.hint()
			}
		}
	}
}

// hint makes the loop report soon, if there is anything to say.
func (s *Semaphore) hint() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session.alloc == 0 && s.session.used == 0 && s.queue.head() == nil {
		return
	}
	s.session.pressed, s.session.urgent = true, true
	s.wakeLoop()
}
