package caller_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// A loss of Redis' state has hooks when it is found and when it is made good, and so has a failing Redis.
func TestHooks_OfRedis(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	faults := redistest.NewFaults(t)
	lost, restored, recovered := make(chan caller.StateLoss, 9), make(chan caller.StateLoss, 9), make(chan struct{}, 9)
	var mu sync.Mutex
	var calls []caller.ScriptCall
	c := join(t, faults.Client(t, rdb.Options()), limits(caller.Limit{Metric: caller.Requests, Rate: 10, Period: time.Hour, Burst: 5}), func(cfg *caller.Config) {
		cfg.Hooks.StateLost = func(_ context.Context, s caller.StateLoss) { lost <- s }
		cfg.Hooks.StateRestored = func(_ context.Context, s caller.StateLoss) { restored <- s }
		cfg.Hooks.RedisRecovered = func(context.Context) { recovered <- struct{}{} }
		cfg.Hooks.ScriptCalled = func(_ context.Context, s caller.ScriptCall) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, s)
		}
	})
	call(t, c)
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	call(t, c)
	if l := testkit.Receive(t, "the loss", lost); !l.All || l.Restored != 1 {
		t.Errorf("got the loss %+v, want all of the state, and one booking put back", l)
	}
	if l := testkit.Receive(t, "the restoration", restored); !l.All || l.Restored != 1 {
		t.Errorf("got the restoration %+v, want that of the loss", l)
	}
	faults.Reset(redistest.Nth(1, redistest.Contains("eval")))
	call(t, c)
	testkit.Receive(t, "the recovery", recovered)
	s := c.Stats()
	if s.StatesLost != 1 || s.ScriptCallsFailed < 1 || s.RedisFailing <= 0 || s.ScriptCalls < 4 {
		t.Errorf("got the stats %+v, want the loss, and the failed call and its time", s)
	}
	mu.Lock()
	defer mu.Unlock()
	admitted := 0
	for _, s := range calls {
		admitted += s.Admitted
		if s.RoundTrip <= 0 || s.Admitted > s.Asked {
			t.Errorf("got the script call %+v, want a round trip, and no more admitted than asked", s)
		}
	}
	if admitted != 3 {
		t.Errorf("got %d calls admitted by script calls, want 3", admitted)
	}
}

// JoinHooks calls every hook of all, in order.
func TestJoinHooks_CallsAll(t *testing.T) {
	t.Parallel()
	var got []string
	make := func(name string) caller.Hooks {
		var h caller.Hooks
		v := reflect.ValueOf(&h).Elem()
		for i := range v.NumField() {
			f, field := v.Field(i), v.Type().Field(i).Name
			f.Set(reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
				got = append(got, name+field)
				if f.Type().NumOut() == 0 {
					return nil
				}
				ctx := args[0].Interface().(context.Context)
				return []reflect.Value{reflect.ValueOf(context.WithValue(ctx, mark{}, name))}
			}))
		}
		return h
	}
	joined := reflect.ValueOf(caller.JoinHooks(caller.Hooks{}, make("a"), caller.Hooks{}, make("b")))
	for i := range joined.NumField() {
		got = nil
		f := joined.Field(i)
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for n := 1; n < f.Type().NumIn(); n++ {
			args = append(args, reflect.Zero(f.Type().In(n)))
		}
		out := f.Call(args)
		name := joined.Type().Field(i).Name
		if want := []string{"a" + name, "b" + name}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if len(out) == 1 && out[0].Interface().(context.Context).Value(mark{}) != "b" {
			t.Errorf("%s: got a context without the last hook's value, want it", name)
		}
	}
}

// Outcomes, scopes and reasons are words in JSON, and are read back.
func TestWords_InJSON(t *testing.T) {
	t.Parallel()
	type all struct {
		Outcome caller.Outcome
		Scope   caller.Scope
		Reason  caller.RefusalReason
	}
	for want, v := range map[string]all{
		`{"Outcome":"success","Scope":"key","Reason":""}`:                  {},
		`{"Outcome":"key_rejected","Scope":"account","Reason":"no_keys"}`:  {caller.KeyRejected, caller.ScopeAccount, caller.RefusedNoKeys},
		`{"Outcome":"pending","Scope":"provider","Reason":"queue_full"}`:   {caller.Pending, caller.ScopeProvider, caller.RefusedQueueFull},
		`{"Outcome":"client_error","Scope":"key","Reason":"circuit_open"}`: {caller.ClientError, caller.ScopeKey, caller.RefusedCircuitOpen},
	} {
		data, err := json.Marshal(v)
		if err != nil || string(data) != want {
			t.Errorf("got %s, %v, want %s", data, err, want)
		}
		var back all
		if err := json.Unmarshal(data, &back); err != nil || back != v {
			t.Errorf("got %+v, %v, want %+v", back, err, v)
		}
	}
	var o caller.Outcome
	if err := o.UnmarshalText([]byte("key rejected")); err != nil || o != caller.KeyRejected {
		t.Errorf("got %v, %v, want key rejected", o, err)
	}
	if err := o.UnmarshalText([]byte("fine")); err == nil {
		t.Error("got no error for a word that is no outcome, want one")
	}
}

// Used is what can't be used of a limit, of every algorithm, and falls as the limit refills.
func TestInspect_UsedIsWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	c := join(t, rdb, limits(
		caller.Limit{Metric: caller.Requests, Rate: 1000, Period: time.Hour, Burst: 100},
		caller.Limit{Metric: caller.Tokens, Rate: 10_000, Period: time.Hour, Algorithm: caller.Bucket},
		caller.Limit{Metric: caller.OutputTokens, Rate: 5000, Algorithm: caller.Daily},
	))
	if _, err := caller.Do(testkit.Context(t), c, caller.Cost{caller.Requests: 10, caller.Tokens: 400, caller.OutputTokens: 70}, nop); err != nil {
		t.Fatal(err)
	}
	state, err := c.Inspect(testkit.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[caller.Metric]int64{caller.Requests: 10, caller.Tokens: 400, caller.OutputTokens: 70}
	for _, l := range state.Limits {
		if n := want[l.Limit.Metric]; l.Used > n || l.Used < n-2 {
			t.Errorf("got %d %s used, want about %d", l.Used, l.Limit.Metric, n)
		}
	}
}
