package ratelimit

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/scripts"
)

// presence keeps the number of processes that share the limits, for LocalShare.
type presence struct {
	name    string
	clients atomic.Int64 // as Redis counted last; 0: never
	mu      sync.Mutex
	next    time.Duration // when to report again, since the Limiter's start
}

const (
	presenceTTL   = 30 * time.Second
	presenceEvery = 10 * time.Second
)

func newPresence() presence { return presence{name: rand.Text()} }

// report tells Redis, now and then, that this process is there. The report goes in a goroutine that ends with it; ctx
// gives it its values.
func (p *presence) report(ctx context.Context, l *Limiter) {
	if l.cfg.Outage != LocalShare {
		return
	}
	now := time.Since(l.start)
	p.mu.Lock()
	due := now >= p.next
	if due {
		p.next = now + presenceEvery
	}
	p.mu.Unlock()
	if !due {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), presenceEvery)
		defer cancel()
		if n, err := scripts.GCRAClients(ctx, l.client, l.cfg.Prefix, p.name, presenceTTL); err == nil {
			p.clients.Store(n)
		}
	}()
}
