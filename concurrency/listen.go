package concurrency

import (
	"context"
	"sync"

	"github.com/penstock/penstock/scripts"
	"github.com/redis/go-redis/v9"
)

// listener is the one subscription of a Redis client, to the channels of all of its semaphores. A message is a hint that a
// report may change something. If a message is lost, the next poll or heartbeat replaces it.
type listener struct {
	client redis.UniversalClient
	wakeup chan struct{} // channels have changed
	ended  chan struct{} // closed by end
	done   chan struct{} // closed when the goroutines have ended

	mu       sync.Mutex
	channels map[string][]*Semaphore
	changed  map[string]bool // channels to subscribe to (true) or to leave (false)
}

func newListener(client redis.UniversalClient) *listener {
	l := &listener{
		client: client, wakeup: make(chan struct{}, 1), ended: make(chan struct{}), done: make(chan struct{}),
		channels: map[string][]*Semaphore{}, changed: map[string]bool{},
	}
	go l.run()
	return l
}

// channelsOf returns the channels of one session, and of all sessions of the semaphore.
func channelsOf(s *Semaphore) [2]string {
	return [2]string{scripts.SemaphoreChannel(s.cfg.Name, s.id), scripts.SemaphoreKey(s.cfg.Name)}
}

func (l *listener) add(s *Semaphore) {
	l.mu.Lock()
	for _, c := range channelsOf(s) {
		l.channels[c] = append(l.channels[c], s)
		l.changed[c] = true
	}
	l.mu.Unlock()
	l.wake()
}

func (l *listener) remove(s *Semaphore) {
	l.mu.Lock()
	for _, c := range channelsOf(s) {
		var rest []*Semaphore
		for _, other := range l.channels[c] {
			if other != s {
				rest = append(rest, other)
			}
		}
		l.channels[c] = rest
		if len(rest) == 0 {
			delete(l.channels, c)
			l.changed[c] = false
		}
	}
	l.mu.Unlock()
	l.wake()
}

func (l *listener) wake() {
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// end ends the subscription. No semaphore may be added after it.
func (l *listener) end() { close(l.ended) }

// run keeps the subscription in line with the semaphores. It has a goroutine of its own, because subscribing may wait for
// a dial.
func (l *listener) run() {
	defer close(l.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ps *redis.PubSub
	received := make(chan struct{})
	for {
		select {
		case <-l.ended:
			cancel()
			if ps != nil {
				go func() { _ = ps.Close() }() // it waits for a dial in progress
				<-received
			}
			return
		case <-l.wakeup:
		}
		join, leave := l.takeChanges()
		switch {
		case ps != nil:
			// After an error, the subscription connects again, with the channels that it has by then.
			if len(leave) > 0 {
				_ = ps.Unsubscribe(ctx, leave...)
			}
			if len(join) > 0 {
				_ = ps.Subscribe(ctx, join...)
			}
		case len(join) > 0:
			ps = l.client.Subscribe(ctx, join...)
			go l.receive(ps, received)
		}
	}
}

// takeChanges returns the channels to subscribe to and those to leave.
func (l *listener) takeChanges() (join, leave []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, subscribe := range l.changed {
		if subscribe {
			join = append(join, c)
		} else {
			leave = append(leave, c)
		}
	}
	clear(l.changed)
	return join, leave
}

// receive passes messages on until the subscription or the client is closed.
func (l *listener) receive(ps *redis.PubSub, received chan struct{}) {
	defer close(received)
	for m := range ps.ChannelWithSubscriptions() {
		switch m := m.(type) {
		case *redis.Subscription:
			if m.Kind == "subscribe" { // messages sent before are lost
				l.pass(m.Channel, "")
			}
		case *redis.Message:
			l.pass(m.Channel, m.Payload)
		}
	}
	_ = ps.Close() // if the client was closed, part of the subscription still runs
}

// pass makes the semaphores of a channel report soon, except for the one that sent the message.
func (l *listener) pass(channel, sender string) {
	l.mu.Lock()
	listening := l.channels[channel]
	l.mu.Unlock()
	for _, s := range listening {
		if s.id != sender {
			s.reportSoon(sender != "" && channel == scripts.SemaphoreKey(s.cfg.Name))
		}
	}
}

// reportSoon makes the loop report now if the session has permits or waiters, or else if lost is set: a session may have
// found a loss of writes, after which Redis may have an old row of this session.
func (s *Semaphore) reportSoon(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !lost && s.session.alloc == 0 && s.session.used == 0 && s.queue.head() == nil {
		return
	}
	s.session.contended, s.session.reportNow = true, true
	s.signal()
}
