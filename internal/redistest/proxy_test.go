package redistest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Slow delays each reply.
func TestSlow_DelaysReplies(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	f.Slow(20 * time.Millisecond)
	before := time.Now()
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(before); d < 20*time.Millisecond {
		t.Errorf("a slow reply came after %v", d)
	}
	f.Slow(time.Hour)
	if err := rdb.Incr(short(t), "n").Err(); !isTimeout(err) {
		t.Errorf("error = %v, want a timeout", err)
	}
	f.Slow(0)
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Error(err)
	}
	eventuallyValue(t, direct, 3)
}

// Other processes reach the server through the faults of a listener.
func TestListen_ServesOtherProcesses(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]Option{"unix": nil, "tcp": {WithTCP()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, opts...)
			f := NewFaults(t)
			network, addr := f.Listen(t, s)
			direct := s.Client(t)
			rdb := open(t, &redis.Options{Network: network, Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
			lost := f.LoseReply(Nth(2, Contains("incr")))
			for i := range 3 {
				err := rdb.Incr(t.Context(), "n").Err()
				if (err != nil) != (i == 1) {
					t.Errorf("call %d: %v", i, err)
				}
			}
			lost.Wait(t, 1)
			value(t, direct, 3)
			f.Blackhole()
			if err := rdb.Incr(short(t), "n").Err(); err == nil {
				t.Error("no error from a blackhole")
			}
			f.Heal()
			if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
				t.Error(err)
			}
			f.Refuse()
			if err := rdb.Incr(t.Context(), "n").Err(); err == nil {
				t.Error("no error from a host that refuses")
			}
			value(t, direct, 4)
		})
	}
}

func eventuallyValue(t *testing.T, rdb *redis.Client, want int) {
	t.Helper()
	eventually(t, "the commands arrive", func() error {
		if n, err := rdb.Get(t.Context(), "n").Int(); err != nil || n < want {
			return redis.Nil
		}
		return nil
	})
	value(t, rdb, want)
}
