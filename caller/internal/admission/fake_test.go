package admission

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/scripts"
)

// fakeRedis is an exchanger whose replies the test decides on. Without a decision it admits every call at once.
type fakeRedis struct {
	mu       sync.Mutex
	calls    []fakeCall
	decide   func(*scripts.PoolCall) (*scripts.PoolReply, error)
	received func() // of the listener; nil: none listens
}

// fakeCall is one script call.
type fakeCall struct {
	*scripts.PoolCall
	after time.Duration // from the test's start
}

func (f *fakeRedis) Admit(_ context.Context, call *scripts.PoolCall) (*scripts.PoolReply, error) {
	f.mu.Lock()
	f.calls = append(f.calls, fakeCall{call, time.Since(bubbleStart)})
	decide := f.decide
	f.mu.Unlock()
	if decide == nil {
		return replyTo(call, 1<<20), nil
	}
	return decide(call)
}

func (f *fakeRedis) Inspect(context.Context) (*scripts.PoolState, error) {
	return &scripts.PoolState{}, nil
}

func (f *fakeRedis) Blocks(context.Context, []string) (*scripts.PoolBlocks, error) {
	return &scripts.PoolBlocks{}, nil
}

func (f *fakeRedis) Listen(ctx context.Context, received func()) {
	f.mu.Lock()
	f.received = received
	f.mu.Unlock()
	<-ctx.Done()
}

// reply makes the fake reply by a function from now on.
func (f *fakeRedis) reply(decide func(*scripts.PoolCall) (*scripts.PoolReply, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// message sends a message to the listener, if there is one.
func (f *fakeRedis) message() {
	f.mu.Lock()
	received := f.received
	f.mu.Unlock()
	if received != nil {
		received()
	}
}

// since returns the calls from number n on, once all goroutines of the bubble wait.
func (f *fakeRedis) since(n int) []fakeCall {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls[n:])
}

// replyTo returns the reply that admits the first n calls on the first target, to be sent at once.
func replyTo(call *scripts.PoolCall, n int) *scripts.PoolReply {
	now := scripts.Micros(time.Now())
	r := &scripts.PoolReply{Now: now, Version: scripts.StateVersion{Generation: 1, Version: call.Seq}, Constraint: scripts.ConstraintNone}
	for _, d := range call.Demands {
		admitted := min(d.Count, n)
		n -= admitted
		r.Admitted, r.Blocked = append(r.Admitted, admitted), append(r.Blocked, scripts.ConstraintNone)
		for range admitted {
			r.Grants = append(r.Grants, scripts.PoolGrant{SendAt: now})
		}
	}
	return r
}

// in returns a function that admits nothing and replies that it is worth asking again after a time.
func in(wake time.Duration) func(*scripts.PoolCall) (*scripts.PoolReply, error) {
	return func(call *scripts.PoolCall) (*scripts.PoolReply, error) {
		r := replyTo(call, 0)
		r.Wake, r.Constraint = wake, 0
		return r, nil
	}
}

// permitsTaken is a function that admits nothing because every permit is taken.
func permitsTaken(call *scripts.PoolCall) (*scripts.PoolReply, error) {
	r := replyTo(call, 0)
	r.Wake, r.Poll, r.Constraint = scripts.PoolPoll, true, scripts.ConstraintPermits
	return r, nil
}

// failing returns a function that fails with an outcome.
func failing(outcome scripts.Outcome, err error) func(*scripts.PoolCall) (*scripts.PoolReply, error) {
	return func(*scripts.PoolCall) (*scripts.PoolReply, error) {
		return nil, &scripts.Error{Script: "pool", Outcome: outcome, Err: err}
	}
}

// bubbleStart is the time in each bubble as it begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// bubble runs a test of a controller over a fake Redis in a synctest bubble. Both accounts and limits can be changed.
func bubble(t *testing.T, cfg Config, test func(t *testing.T, c *Controller, f *fakeRedis)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRedis{}
		c := newController(f, cfg)
		test(t, c, f)
		f.reply(nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = c.Close(ctx)
	})
}

// limitedConfig returns the Config of a pool with a limit and 10 permits.
func limitedConfig() Config {
	cfg := configOf([]Limit{bucket(60, time.Minute, 10)}, "k")
	cfg.Concurrency = 10
	return cfg
}

// attempt is an Acquire that may go on.
type attempt struct {
	Grant
	cancel context.CancelFunc
	ended  chan error // gets its result
	err    error
}

// errWaits is the result of an Acquire that goes on.
var errWaits = errors.New("the call waits")

// begin begins an Acquire. A timeout of 0 is none.
func begin(t *testing.T, c *Controller, r Request, timeout time.Duration) *attempt {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(t.Context(), timeout)
	}
	if r.Units == nil {
		r.Units = slices.Repeat([]int64{1}, c.cfg.Metrics)
	}
	a := &attempt{cancel: cancel, ended: make(chan error, 1), err: errWaits}
	t.Cleanup(cancel)
	go func() { a.ended <- c.Acquire(ctx, r, &a.Grant) }()
	synctest.Wait()
	return a
}

// result returns the result of the Acquire, or errWaits, once all goroutines of the bubble wait.
func (a *attempt) result() error {
	synctest.Wait()
	select {
	case a.err = <-a.ended:
	default:
	}
	return a.err
}

// admitted fails the test unless the attempt has been admitted.
func (a *attempt) admitted(t *testing.T) {
	t.Helper()
	if err := a.result(); err != nil {
		t.Fatalf("got %v, want admitted", err)
	}
}

// waits fails the test unless the attempt waits.
func (a *attempt) waits(t *testing.T) {
	t.Helper()
	if err := a.result(); err != errWaits {
		t.Fatalf("got %v, want a call that waits", err)
	}
}

// demanded returns the number of calls that a script call asks for.
func demanded(call *scripts.PoolCall) int {
	n := 0
	for _, d := range call.Demands {
		n += d.Count
	}
	return n
}
