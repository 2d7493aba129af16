package redistest

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// faulty returns a client that goes through faults and never repeats a command, and one that reaches Redis directly.
func faulty(t *testing.T, f *Faults) (through, direct *redis.Client) {
	t.Helper()
	direct = Client(t)
	opts := *direct.Options()
	opts.MaxRetries = -1
	opts.DialerRetries = 1
	opts.ContextTimeoutEnabled = true
	return f.Client(t, &opts), direct
}

func value(t *testing.T, rdb *redis.Client, want int) {
	t.Helper()
	got, err := rdb.Get(context.Background(), "n").Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("the server has executed %d INCR, want %d", got, want)
	}
}

func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// The server executes the command, and the client's connection is reset.
func TestLoseReply_AfterExecution(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	lost := f.LoseReply(Nth(2, Contains("incr")))
	sent := f.Count(Contains("incr"))
	for i := range 3 {
		err := rdb.Incr(t.Context(), "n").Err()
		if wantErr := i == 1; wantErr != errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if lost.Hits() != 1 || sent.Hits() != 3 {
		t.Errorf("%d replies lost, %d sent; want 1 and 3", lost.Hits(), sent.Hits())
	}
	value(t, direct, 3)
}

// With its default options go-redis repeats a command whose reply is lost.
func TestLoseReply_MakesGoRedisRepeat(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	direct := Client(t)
	rdb := f.Client(t, direct.Options()) // with go-redis's defaults
	f.LoseReply(Nth(1, Contains("incr")))
	if n, err := rdb.Incr(t.Context(), "n").Result(); n != 2 || err != nil {
		t.Errorf("Incr = %d, %v; want the second execution's 2", n, err)
	}
	value(t, direct, 2)
}

// The client's connection is reset, and the server never gets the command.
func TestReset_BeforeExecution(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	f.Reset(Nth(1, Contains("incr")))
	if err := rdb.Incr(t.Context(), "n").Err(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error = %v, want a reset connection", err)
	}
	value(t, direct, 0)
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Error(err)
	}
}

// A reply is held until Release, after the server has executed the command.
func TestHoldReply_UntilRelease(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	held := f.HoldReply(Contains("incr"))
	if err := rdb.Incr(short(t), "n").Err(); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("error = %v, want a timeout", err)
	}
	held.Wait(t, 1)
	value(t, direct, 1)

	var wg sync.WaitGroup
	var n int64
	var err error
	wg.Go(func() { n, err = rdb.Incr(t.Context(), "n").Result() })
	held.Wait(t, 2)
	value(t, direct, 2) // executed, and not yet answered
	held.Release()
	wg.Wait()
	if n != 2 || err != nil {
		t.Errorf("Incr = %d, %v; want 2", n, err)
	}
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil { // the rule is over
		t.Error(err)
	}
}

// A held command reaches the server at Release, also if the client has closed its connection.
func TestHoldCommand_ArrivesAfterTheClientsDeadline(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	held := f.HoldCommand(Contains("incr"))
	if err := rdb.Incr(short(t), "n").Err(); !isTimeout(err) {
		t.Errorf("error = %v, want a timeout", err)
	}
	value(t, direct, 0)
	_ = rdb.Close()
	held.Release()
	value(t, direct, 1)
}

// A held command succeeds after Release if the client still waits.
func TestHoldCommand_Delays(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	held := f.HoldCommand(Contains("incr"))
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = rdb.Incr(t.Context(), "n").Err() })
	held.Wait(t, 1)
	value(t, direct, 0)
	held.Release()
	wg.Wait()
	if err != nil {
		t.Error(err)
	}
	value(t, direct, 1)
}

// Before and After call their functions before the command leaves and after its execution.
func TestBeforeAndAfter_CallTheirFunctions(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	ctx := t.Context()
	f.Before(Contains("incr"), func() { direct.Set(ctx, "n", 10, 0) })
	f.After(Contains("incr"), func() { direct.Set(ctx, "n", 20, 0) })
	if n, err := rdb.Incr(ctx, "n").Result(); n != 11 || err != nil {
		t.Errorf("Incr = %d, %v; want 11", n, err)
	}
	value(t, direct, 20)
}

// From the matching command on, nothing arrives until Heal.
func TestBlackholeFrom_SwallowsEverything(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	f.BlackholeFrom(Nth(2, Contains("incr")))
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // on the open connection, then on a new one
		if err := rdb.Incr(short(t), "n").Err(); err == nil {
			t.Error("no error from a blackhole")
		}
	}
	f.Heal()
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Error(err)
	}
	value(t, direct, 2)
}

// Refuse resets connections and refuses new ones until Heal; Cut resets them once.
func TestRefuseAndCut_ResetConnections(t *testing.T) {
	t.Parallel()
	f := NewFaults(t)
	rdb, direct := faulty(t, f)
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Fatal(err)
	}
	f.Refuse()
	for range 2 {
		if err := rdb.Incr(t.Context(), "n").Err(); err == nil {
			t.Error("no error from a host that refuses")
		}
	}
	f.Heal()
	if err := rdb.Incr(t.Context(), "n").Err(); err != nil {
		t.Error(err)
	}
	f.Cut()
	if err := rdb.Incr(t.Context(), "n").Err(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error = %v, want a reset connection", err)
	}
	value(t, direct, 2)
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
