package ratelimit

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/scripts"
)

// presence is this process's view of how many processes share the limits. Only LocalShare needs it.
type presence struct {
	name    string
	clients atomic.Int64 // number of processes by the last report; 0 before the first
	mu      sync.Mutex
	next    time.Duration // of the next report, since the Limiter's start
}

const (
	presenceTTL   = 30 * time.Second
	presenceEvery = 10 * time.Second
)

func newPresence() presence { return presence{name: rand.Text()} }

// report registers this process in Redis if a report is due, in a goroutine that ends with the report. ctx supplies
// values only.
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
