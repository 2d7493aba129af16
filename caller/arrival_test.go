package caller_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// A call that comes during a script call for others is asked for at once, and not when those are.
func TestAdmission_ACallThatComesDuringAScriptCallIsAskedForAtOnce(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	prime(t, rdb)
	faults := redistest.NewFaults(t)
	hourly := caller.Limit{Metric: caller.Requests, Rate: 1, Period: time.Hour, Models: []string{"slow"}}
	c := join(t, faults.Client(t, rdb.Options()), limits(hourly), func(c *caller.Config) { c.Tuning.SessionTTL = time.Hour })
	slow := caller.WithOptions(testkit.ContextFor(t, 2*time.Hour), caller.Options{Model: "slow"})
	if _, err := caller.Do(slow, c, nil, nop); err != nil {
		t.Fatal(err)
	}
	reply := faults.HoldReply(redistest.Nth(1, redistest.Contains("eval")))
	waits := booked(slow, c) // for an hour
	reply.Wait(t, 1)
	quick := booked(caller.WithOptions(testkit.Context(t), caller.Options{Model: "quick"}), c)
	testkit.Eventually(t, "both wait", func() bool { return c.Stats().CallsWaiting == 2 })
	reply.Release()
	if err := <-quick; err != nil {
		t.Errorf("got %v for the call that nothing limits, want success", err)
	}
	select {
	case err := <-waits:
		t.Errorf("got %v for the call that waits for an hour, want it to wait", err)
	default:
	}
}
