package hedge

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const after = 10 * time.Millisecond

// plan is how a run goes: when it ends, and what its value means. A run obeys its context.
type plan struct {
	takes  time.Duration
	result Result
	raise  func()
}

// value is the value of a planned run.
type value struct {
	name   string // first or second
	result Result
	cause  error // by which the run's context ended before its time
}

// outcome is what a race of planned runs came to.
type outcome struct {
	value     string
	took      time.Duration
	runs      int
	discarded []string
	ends      [2]error // the causes by which the runs' contexts had ended when the race was over; nil: they go on
	panicked  any
	goexit    bool
}

// run makes a race in a bubble and waits for its runs.
func run(t *testing.T, h *Hedger, plans ...plan) (out outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var ctxs [2]context.Context
		r := Race[value]{
			Run: func(ctx context.Context, r *Run) value {
				i := slices.Index([]bool{false, true}, r.Second)
				p := plans[i]
				v := value{name: []string{"first", "second"}[i], result: p.result}
				ctxs[i] = ctx
				if p.result != NotStarted {
					r.Started()
				}
				select {
				case <-time.After(p.takes):
				case <-ctx.Done():
					v.cause = context.Cause(ctx)
				}
				if p.raise != nil {
					p.raise()
				}
				return v
			},
			Judge:   func(v value) Result { return v.result },
			Discard: func(v value) { out.discarded = append(out.discarded, v.name) },
		}
		begun := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			out.goexit = true
			defer func() { out.panicked = recover() }()
			out.value = Do(t.Context(), h, r).name
			out.goexit = false
		}()
		<-done
		out.took = time.Since(begun)
		synctest.Wait() // for the run that lost
		for i, ctx := range ctxs {
			if ctx != nil {
				out.runs++
				out.ends[i] = context.Cause(ctx)
			}
		}
	})
	return out
}

// Each row is a race: which runs there are, whose value decides it, and what becomes of the other.
func TestDo_TakesTheResultThatComesFirst(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	for name, test := range map[string]struct {
		plans     []plan
		want      string
		took      time.Duration
		discarded []string
	}{
		"the first is fast":               {[]plan{{9 * ms, Succeeded, nil}}, "first", 9 * ms, nil},
		"the first fails fast":            {[]plan{{9 * ms, Failed, nil}}, "first", 9 * ms, nil},
		"the first never starts":          {[]plan{{90 * ms, NotStarted, nil}}, "first", 90 * ms, nil},
		"the second is faster":            {[]plan{{90 * ms, Succeeded, nil}, {5 * ms, Succeeded, nil}}, "second", 15 * ms, []string{"first"}},
		"the first is faster after all":   {[]plan{{12 * ms, Succeeded, nil}, {50 * ms, Succeeded, nil}}, "first", 12 * ms, []string{"second"}},
		"the first fails, then the other": {[]plan{{12 * ms, Failed, nil}, {50 * ms, Failed, nil}}, "second", 60 * ms, []string{"first"}},
		"the second fails":                {[]plan{{30 * ms, Succeeded, nil}, {5 * ms, Failed, nil}}, "first", 30 * ms, []string{"second"}},
		"the first fails, the other not":  {[]plan{{12 * ms, Failed, nil}, {50 * ms, Succeeded, nil}}, "second", 60 * ms, []string{"first"}},
		"the second never starts":         {[]plan{{30 * ms, Failed, nil}, {40 * ms, NotStarted, nil}}, "first", 50 * ms, []string{"second"}},
	} {
		got := run(t, New(Config{After: after}), test.plans...)
		if got.value != test.want || got.took != test.took || got.runs != len(test.plans) {
			t.Errorf("%s: got %q after %v and %d runs, want %q, %v, %d",
				name, got.value, got.took, got.runs, test.want, test.took, len(test.plans))
		}
		if !slices.Equal(got.discarded, test.discarded) {
			t.Errorf("%s: got %q discarded, want %q", name, got.discarded, test.discarded)
		}
		for i, run := range []string{"first", "second"}[:got.runs] {
			var want error
			if run != test.want {
				want = ErrLost
			}
			if got.ends[i] != want {
				t.Errorf("%s: got the end %v of the %s run's context, want %v", name, got.ends[i], run, want)
			}
		}
	}
}

// A second run that Allow refuses doesn't start, and Allow is called once.
func TestDo_AsksAllowOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	h := New(Config{After: after, Allow: func() bool { asked++; return false }})
	got := run(t, h, plan{time.Second, Succeeded, nil})
	if got.value != "first" || got.runs != 1 || asked != 1 {
		t.Errorf("got %q by %d runs, Allow called %d times, want the first of 1, and once", got.value, got.runs, asked)
	}
}

// A panic of either run is raised by Do, and so is runtime.Goexit; the other run is cancelled.
func TestDo_RaisesWhatARunRaises(t *testing.T) {
	t.Parallel()
	mine := func() { panic("mine") }
	for name, plans := range map[string][]plan{
		"first":  {{30 * time.Millisecond, Succeeded, mine}, {time.Second, Succeeded, nil}},
		"second": {{time.Second, Succeeded, nil}, {5 * time.Millisecond, Succeeded, mine}},
	} {
		got := run(t, New(Config{After: after}), plans...)
		if got.panicked != "mine" || got.took > 100*time.Millisecond {
			t.Errorf("%s: got the panic %v after %v, want mine at once", name, got.panicked, got.took)
		}
		for i, err := range got.ends {
			if err == nil {
				t.Errorf("%s: got no end of the context of run %d, want one", name, i)
			}
		}
	}
	if got := run(t, New(Config{After: after}), plan{0, Succeeded, runtime.Goexit}); !got.goexit || got.panicked != nil {
		t.Errorf("got %+v for a run that ends its goroutine, want the same of Do", got)
	}
}
