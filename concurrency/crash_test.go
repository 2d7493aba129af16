package concurrency

import (
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// The permits of a killed process are free after its session's TTL.
func TestKilledProcess_FreesItsPermits(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const ttl = time.Second
	p := startProcess(t, rdb, processConfig{Name: "test", Limit: 2, TTL: ttl})
	if r := p.do(command{Do: "acquire", Lease: 1, N: 2, Timeout: 10 * time.Second}); r.Err != "" {
		t.Fatal(r.Err)
	}
	s := newTest(t, rdb, Config{Limit: 2, SessionTTL: ttl})
	got := queued(t, s, testkit.Context(t), 2)
	known(t, s, 2)
	p.kill()
	killed := time.Now()
	take(t, got).Release()
	if took := time.Since(killed); took > ttl+DefaultPollInterval+5*time.Second {
		t.Errorf("the permits of the killed process: got them after %v, want at most %v", took, ttl+DefaultPollInterval+5*time.Second)
	}
}

// A process that is stopped for longer than the TTL has lost its leases when it continues. Its permits aren't counted twice.
func TestStoppedProcess_LosesItsLeases(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const ttl = time.Second
	p := startProcess(t, rdb, processConfig{Name: "test", Limit: 1, TTL: ttl})
	if r := p.do(command{Do: "acquire", Lease: 1, N: 1, Timeout: 10 * time.Second}); r.Err != "" {
		t.Fatal(r.Err)
	}
	s := newTest(t, rdb, Config{Limit: 1, SessionTTL: ttl})
	got := queued(t, s, testkit.Context(t), 1)
	known(t, s, 1)
	p.signal(syscall.SIGSTOP)
	l := take(t, got)
	p.signal(syscall.SIGCONT)
	if r := p.do(command{Do: "err", Lease: 1}); r.Err == "" {
		t.Error("the lease of the stopped process: got no error, want that it is lost")
	}
	p.do(command{Do: "release", Lease: 1})
	if sum, st := allocated(t, s); sum != 1 || l.Err() != nil {
		t.Errorf("allocated permits: got %d and lease error %v, want 1 and nil: %+v", sum, l.Err(), st)
	}
	l.Release()
	if r := p.do(command{Do: "acquire", Lease: 2, N: 1, Timeout: 10 * time.Second}); r.Err != "" {
		t.Error(r.Err)
	}
}
