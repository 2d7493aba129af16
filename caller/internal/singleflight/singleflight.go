// Package singleflight runs a function once for all callers that ask for the same key at the same time.
//
// It is used in place of golang.org/x/sync/singleflight, which runs the function with the first caller's context, so that
// the run ends when that caller leaves. Here it ends with the last.
package singleflight

import (
	"context"
	"errors"
	"sync"
)

// Group is a set of runs with different keys. The zero Group is ready to use. Safe for concurrent use.
type Group struct {
	mu   sync.Mutex
	runs map[any]*run
}

// run is one run that callers share.
type run struct {
	cancel   context.CancelCauseFunc
	callers  int // guarded by the group's lock
	done     chan struct{}
	value    any
	err      error
	panicked any
}

// key tells runs apart. Runs with results of different types are never shared.
type key[T any] struct{ name string }

// ErrAllLeft is the cause by which a run's context ends when its last caller has left.
var ErrAllLeft = errors.New("every caller of the shared run has left")

// Do returns the result of f. If a run for the same name and type of result is under way, Do returns that run's result.
//
// A caller leaves if its ctx ends, and gets the cause. The run has the values of the first caller's context; its own
// context ends when the last caller leaves. If f panics, Do panics in each caller.
func Do[T any](ctx context.Context, g *Group, name string, f func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	k := key[T]{name}
	g.mu.Lock()
	r := g.runs[k]
	if r == nil {
		var own context.Context
		r = &run{done: make(chan struct{}), err: errors.New("the shared run ended its goroutine")}
		own, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		if g.runs == nil {
			g.runs = map[any]*run{}
		}
		g.runs[k] = r
		go func() {
			defer g.finish(k, r)
			r.value, r.err = f(own)
		}()
	}
	r.callers++
	g.mu.Unlock()
	select {
	case <-r.done:
		if r.panicked != nil {
			panic(r.panicked) //nolint:forbidigo // f's own
		}
		value, _ := r.value.(T)
		return value, r.err
	case <-ctx.Done():
		g.forget(k, r)
		return none, context.Cause(ctx)
	}
}

// finish ends a run. It recovers a panic of the run, which Do raises again in the callers.
func (g *Group) finish(k any, r *run) {
	r.panicked = recover()
	g.mu.Lock()
	if g.runs[k] == r {
		delete(g.runs, k)
	}
	g.mu.Unlock()
	r.cancel(nil)
	close(r.done)
}

// forget removes a caller from a run. The last one ends the run, which takes no further callers.
func (g *Group) forget(k any, r *run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.callers--; r.callers > 0 {
		return
	}
	if g.runs[k] == r {
		delete(g.runs, k)
	}
	r.cancel(ErrAllLeft)
}

// Callers returns the number of callers that share the run for a name and type of result now.
func Callers[T any](g *Group, name string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.runs[key[T]{name}]; r != nil {
		return r.callers
	}
	return 0
}
