package concurrency

import (
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// The permits of a killed process come back within the TTL, although nobody releases anything, and not before.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const ttl = time.Second
	p := startProcess(t, rdb, processConfig{Name: "test", Limit: 2, TTL: ttl})
	if r := p.do(command{Do: "acquire", Lease: 1, N: 2, Timeout: 10 * time.Second}); r.Err != "" {
		t.Fatal(r.Err)
	}
	s := newTest(t, rdb, 2, WithTTL(ttl))
	got := queued(t, s, bounded(t), 2)
	known(t, s, 2)
	p.kill()
	killed := time.Now()
	take(t, got).Release()
	if took := time.Since(killed); took > ttl+DefaultPoll+5*time.Second {
		t.Errorf("the permits came back after %v", took)
	}
}

// A process that is stopped for longer than the TTL finds its leases lost as soon as it continues, and its permits are
// not counted twice.
func TestStoppedHolder(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const ttl = time.Second
	p := startProcess(t, rdb, processConfig{Name: "test", Limit: 1, TTL: ttl})
	if r := p.do(command{Do: "acquire", Lease: 1, N: 1, Timeout: 10 * time.Second}); r.Err != "" {
		t.Fatal(r.Err)
	}
	s := newTest(t, rdb, 1, WithTTL(ttl))
	got := queued(t, s, bounded(t), 1)
	known(t, s, 1)
	p.signal(syscall.SIGSTOP)
	l := take(t, got)
	p.signal(syscall.SIGCONT)
	if r := p.do(command{Do: "err", Lease: 1}); r.Err == "" {
		t.Error("the lease of a process that was stopped for longer than the TTL lives on")
	}
	p.do(command{Do: "release", Lease: 1})
	if sum, st := allocated(t, s); sum != 1 || l.Err() != nil {
		t.Errorf("%d permits of 1 are allocated, %v: %+v", sum, l.Err(), st)
	}
	l.Release()
	if r := p.do(command{Do: "acquire", Lease: 2, N: 1, Timeout: 10 * time.Second}); r.Err != "" {
		t.Error(r.Err)
	}
}
