package concurrency

import (
	"context"

	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// listen subscribes to the channels on which Redis says that it is worth asking, and returns the function that ends
// that. A message is a hint: whatever it would have told, the next poll or heartbeat finds out.
func (s *Semaphore) listen(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	made := make(chan *redis.PubSub, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Not on the loop: to subscribe is to connect, which may take long.
		ps := s.rdb.Subscribe(ctx, scripts.SemaphoreChannel(s.name, s.id), scripts.SemaphoreKey(s.name))
		made <- ps
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
	}()
	return func() {
		cancel()
		_ = (<-made).Close() // it has nothing left to say
		<-done
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
