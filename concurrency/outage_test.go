package concurrency

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

// While Redis is away, because it refuses or hangs, every request returns by its deadline, with what the policy grants. When
// Redis is back, it counts the permits granted meanwhile.
func TestOutage_DecidesWithoutRedis(t *testing.T) {
	t.Parallel()
	const limit = 4
	for _, tt := range []struct {
		name         string
		outage       OutagePolicy
		minProcesses int
		grants       int // permits that a process without a session is granted
	}{
		{"local share", LocalShare, 2, limit / 2},
		{"local share of many", LocalShare, 100, 1},
		{"closed", FailClosed, 1, 0},
		{"open", FailOpen, 1, 3 * limit},
	} {
		for _, how := range []string{"refuses", "hangs"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				f := redistest.NewFaults(t)
				var failed, recovered, degraded atomic.Int64
				s := newTest(t, f.Client(t, server.Options()), Config{
					Limit: limit, SessionTTL: time.Second, Outage: tt.outage, MinProcesses: tt.minProcesses,
					Hooks: Hooks{
						RedisFailed:    func(context.Context, error) { failed.Add(1) },
						RedisRecovered: func(context.Context) { recovered.Add(1) },
						Degraded:       func(context.Context, OutagePolicy, error) { degraded.Add(1) },
					},
				})
				acquire(t, s, 1).Release() // the process has connected
				returned(t, s)
				if how == "refuses" {
					f.Refuse()
				} else {
					f.Blackhole()
				}
				var leases []*Lease
				for range tt.grants {
					leases = append(leases, acquire(t, s, 1))
				}
				switch tt.outage {
				case FailClosed:
					if _, err := s.Acquire(testkit.Context(t)); !errors.Is(err, ErrUnavailable) {
						t.Errorf("Acquire: got %v, want %v", err, ErrUnavailable)
					}
				case LocalShare:
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					defer cancel()
					if _, err := s.Acquire(ctx); !errors.Is(err, ErrDeadline) {
						t.Errorf("Acquire beyond the local share: got %v, want %v", err, ErrDeadline)
					}
				}
				f.Heal()
				back(t, s)
				testkit.Eventually(t, "Redis counts the permits granted meanwhile", func() bool {
					sum, _ := allocated(t, s)
					return sum == tt.grants
				})
				for _, l := range leases {
					if l.Err() != nil {
						t.Errorf("a lease: got %v, want nil", l.Err())
					}
					l.Release()
				}
				acquire(t, s, limit).Release()
				if failed.Load() != 1 || recovered.Load() != 1 || degraded.Load() == 0 {
					t.Errorf("calls of RedisFailed, RedisRecovered, Degraded: got %d, %d, %d, want 1, 1 and some",
						failed.Load(), recovered.Load(), degraded.Load())
				}
			})
		}
	}
}

// Without Redis a lease lives until its session ends by the local clock.
func TestLease_EndsWithItsSession(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	const ttl = time.Second
	s := newTest(t, f.Client(t, server.Options()), Config{Limit: 1, SessionTTL: ttl, Outage: FailClosed})
	l := acquire(t, s, 1)
	ctx := l.Context()
	other := newTest(t, server.Client(t), Config{Limit: 1, SessionTTL: ttl})
	got := queued(t, other, testkit.Context(t), 1)
	known(t, other, 1)
	f.Blackhole()
	next := take(t, got) // Redis has allocated the permit again
	if ctx.Err() == nil || !errors.Is(context.Cause(ctx), ErrLeaseLost) || !errors.Is(l.Err(), ErrLeaseLost) {
		t.Errorf("the lease's context: got %v with cause %v, want %v", ctx.Err(), context.Cause(ctx), ErrLeaseLost)
	}
	l.Release()
	next.Release()
	f.Heal()
	back(t, s)
	acquire(t, s, 1).Release()
}

// back waits until a process has reached Redis again.
func back(t *testing.T, s *Semaphore) {
	t.Helper()
	testkit.Eventually(t, "Redis is back", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.session.err == nil
	})
}

// While Redis hangs, the number of goroutines stays bounded.
func TestHungRedis_KeepsGoroutinesBounded(t *testing.T) {
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	s := newTest(t, f.Client(t, server.Options()), Config{Limit: 1, SessionTTL: time.Second})
	acquire(t, s, 1).Release()
	f.Blackhole()
	before := runtime.NumGoroutine()
	var failed int
	for range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if l, err := s.AcquireN(ctx, 1); err == nil {
			l.Release()
		} else {
			failed++
		}
		cancel()
	}
	if after := runtime.NumGoroutine(); after > before+10 {
		t.Errorf("goroutines: got %d, want at most %d", after, before+10)
	}
	f.Heal()
}

// A process that has never reached Redis grants no permits, also with LocalShare. Its error says so and what to check.
func TestOutage_FailsClosedBeforeRedisWasReached(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithArgs("--requirepass", "right"))
	wrong := *server.Options()
	wrong.Password = "wrong"
	for name, opts := range map[string]*redis.Options{
		"dead address": {Addr: "127.0.0.1:1", DialerRetries: 1}, "wrong password": &wrong,
	} {
		for _, policy := range []OutagePolicy{FailClosed, LocalShare} {
			t.Run(name+"/"+policy.String(), func(t *testing.T) {
				t.Parallel()
				rdb := redis.NewClient(opts)
				t.Cleanup(func() { rdb.Close() })
				s := newTest(t, rdb, Config{Limit: 4, Outage: policy, SessionTTL: time.Second})
				for range 5 {
					_, err := s.Acquire(testkit.Context(t))
					if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "never reached") ||
						!strings.Contains(err.Error(), "check the address, the password and the ACL") {
						t.Errorf("Acquire: got %v, want %v that says why and what to do", err, ErrUnavailable)
					}
				}
			})
		}
	}
}
