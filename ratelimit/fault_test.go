package ratelimit_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/ratelimit"
	"github.com/penstock/penstock/scripts"
)

// faulty returns a Limiter behind a network with faults, and another with a direct connection.
func faulty(t *testing.T, cfg ratelimit.Config) (*redistest.Faults, *ratelimit.Limiter, *ratelimit.Limiter) {
	t.Helper()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	l, err := ratelimit.New(faults.Client(t, impatient(rdb)), cfg)
	if err != nil {
		t.Fatal(err)
	}
	other := ratelimit.NewLimiter(rdb)
	if _, err := other.Allow(t.Context(), "warm", ratelimit.PerHour(1)); err != nil {
		t.Fatal(err)
	}
	return faults, l, other
}

// impatient returns the client's options without retries of refused connections.
func impatient(rdb *redis.Client) *redis.Options {
	opts := *rdb.Options()
	opts.DialerRetries = 1
	return &opts
}

// remaining fails the test if the key doesn't have want units left.
func remaining(t *testing.T, l *ratelimit.Limiter, limit ratelimit.Limit, want int) {
	t.Helper()
	if res, err := l.Peek(t.Context(), "k", limit); err != nil || res.Remaining != want {
		t.Fatalf("got %+v, %v; want %d remaining", res, err, want)
	}
}

// TestLostReply_ChargesOnce loses the reply of a script that ran.
func TestLostReply_ChargesOnce(t *testing.T) {
	faults, l, other := faulty(t, ratelimit.Config{})
	limit := ratelimit.PerHour(10)
	faults.LoseReply(redistest.Nth(1, anyScript))
	_, err := l.AllowN(t.Context(), "k", limit, 3)
	if err == nil || scripts.OutcomeOf(err) != scripts.Unknown {
		t.Fatalf("got %v, want an error of unknown outcome", err)
	}
	remaining(t, other, limit, 7)
}

// TestResetConnection_ChargesAtMostOnce resets the connection before the command arrives.
func TestResetConnection_ChargesAtMostOnce(t *testing.T) {
	faults, l, other := faulty(t, ratelimit.Config{})
	limit := ratelimit.PerHour(10)
	faults.Reset(redistest.Nth(1, anyScript))
	if _, err := l.AllowN(t.Context(), "k", limit, 3); err == nil {
		t.Fatal("no error")
	}
	remaining(t, other, limit, 10)
}

// TestLateScript_DoesNothing holds a command in the network until its caller has left.
func TestLateScript_DoesNothing(t *testing.T) {
	faults, l, other := faulty(t, ratelimit.Config{})
	limit := ratelimit.PerHour(10)
	remaining(t, l, limit, 10) // the Limiter learns Redis' clock
	held := faults.HoldCommand(anyScript)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.AllowN(ctx, "k", limit, 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a deadline exceeded", err)
	}
	held.Wait(t, 1)
	held.Release()
	remaining(t, other, limit, 10)
}

// TestTimeout_BoundsCalls makes calls without a deadline while Redis does not reply.
func TestTimeout_BoundsCalls(t *testing.T) {
	faults, l, _ := faulty(t, ratelimit.Config{Timeout: 500 * time.Millisecond})
	limit := ratelimit.PerHour(10)
	remaining(t, l, limit, 10)
	faults.Blackhole()
	start := time.Now()
	for range 10 { // after three failures the circuit answers
		if _, err := l.Allow(context.Background(), "k", limit); !errors.Is(err, ratelimit.ErrUnavailable) {
			t.Fatalf("got %v, want ErrUnavailable", err)
		}
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("ten calls took %v", d)
	}
	faults.Heal()
	testkit.Eventually(t, "a call succeeds", func() bool {
		_, err := l.Allow(context.Background(), "k", limit)
		return err == nil
	})
}

// TestScriptFlush_IsTransparent flushes the scripts before each call.
func TestScriptFlush_IsTransparent(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	l := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(10)
	for want := 9; want >= 5; want-- {
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if res, err := l.Allow(t.Context(), "k", limit); err != nil || res.Remaining != want {
			t.Fatalf("got %+v, %v; want %d remaining", res, err, want)
		}
	}
}

// TestForeignKey_IsLeftUnchanged checks that a key with other contents is neither used nor overwritten.
func TestForeignKey_IsLeftUnchanged(t *testing.T) {
	rdb := redistest.Client(t)
	l := ratelimit.NewLimiter(rdb)
	for key, write := range map[string]func() error{
		"text": func() error { return rdb.Set(t.Context(), "rate:text", "hello", 0).Err() },
		"nan":  func() error { return rdb.Set(t.Context(), "rate:nan", "nan", 0).Err() },
		"list": func() error { return rdb.RPush(t.Context(), "rate:list", "a").Err() },
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		before, err := rdb.Dump(t.Context(), "rate:"+key).Result()
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Allow(t.Context(), key, ratelimit.PerSecond(1))
		if scripts.OutcomeOf(err) != scripts.Rejected {
			t.Errorf("%s: %v, want a rejected script", key, err)
		}
		_, err = l.Admit(t.Context(), ratelimit.Charge{Key: "good", Limit: ratelimit.PerHour(5), Cost: 1},
			ratelimit.Charge{Key: key, Limit: ratelimit.PerSecond(1), Cost: 1})
		if scripts.OutcomeOf(err) != scripts.Rejected {
			t.Errorf("%s: %v, want a rejected script", key, err)
		}
		if after, err := rdb.Dump(t.Context(), "rate:"+key).Result(); err != nil || after != before {
			t.Errorf("%s was changed", key)
		}
	}
	if res, err := l.Peek(t.Context(), "good", ratelimit.PerHour(5)); err != nil || res.Remaining != 5 {
		t.Errorf("%+v, %v: a refused call was charged", res, err)
	}
}

// TestRefusedWrite_ChangesNothing checks the typed errors of a Redis that refuses scripts, and that nothing is charged.
func TestRefusedWrite_ChangesNothing(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	l := ratelimit.NewLimiter(rdb)
	limit := ratelimit.PerHour(10)
	charges := []ratelimit.Charge{{Key: "k", Limit: limit, Cost: 1}, {Key: "k2", Limit: limit, Cost: 1}}
	if a, err := l.Admit(t.Context(), charges...); err != nil || !a.Allowed {
		t.Fatal(a, err)
	}
	for name, how := range map[string]struct{ refuse, allow []any }{
		"OOM":    {[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
		"NOPERM": {[]any{"acl", "setuser", "default", "-set"}, []any{"acl", "setuser", "default", "+set"}},
		"NOREPLICAS": {
			[]any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"},
		},
	} {
		if err := rdb.Do(t.Context(), how.refuse...).Err(); err != nil {
			t.Fatal(name, err)
		}
		_, err := l.Admit(t.Context(), charges...)
		if e, ok := errors.AsType[*scripts.Error](err); !ok || e.Outcome == scripts.Unknown {
			t.Errorf("%s: %v, want a typed error that says that nothing was run", name, err)
		}
		if err := rdb.Do(t.Context(), how.allow...).Err(); err != nil {
			t.Fatal(name, err)
		}
		testkit.Eventually(t, "the circuit admits a call, with nothing charged", func() bool { // after the circuit's next probe
			res, err := l.Peek(t.Context(), "k", limit)
			return err == nil && res.Remaining == 9
		})
	}
}

// TestRefund_IsSentAgain checks that a refund that certainly didn't reach Redis is sent again.
func TestRefund_IsSentAgain(t *testing.T) {
	faults, l, other := faulty(t, ratelimit.Config{})
	limit := ratelimit.PerHour(10)
	r, err := l.Reserve(t.Context(), ratelimit.Charge{Key: "k", Limit: limit, Cost: 4})
	if err != nil {
		t.Fatal(err)
	}
	faults.Refuse()
	if _, err := l.Peek(t.Context(), "k", limit); err == nil {
		t.Fatal("no error without Redis")
	}
	r.Cancel()
	if _, err := l.Peek(t.Context(), "k", limit); err == nil { // carries the refund
		t.Fatal("no error without Redis")
	}
	faults.Heal()
	testkit.Eventually(t, "the refund arrives", func() bool {
		res, err := other.Peek(t.Context(), "k", limit)
		return err == nil && res.Remaining == 10
	})
}
