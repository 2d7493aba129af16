package caller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// maxShared is the longest answer that is shared by requests.
const maxShared = 64 << 20

// flights are the shared calls under way. It is our own rather than x/sync/singleflight because there whoever comes first
// lends the call its context, and takes it down when it leaves; here the call lives until the last one leaves.
type flights struct {
	mu    sync.Mutex
	byKey map[any]*flight
}

// flight is one shared call.
type flight struct {
	cancel   context.CancelCauseFunc
	waiting  int // belongs to the flights' lock
	done     chan struct{}
	value    any
	err      error
	panicked any
}

// shareKey tells flights apart. Calls with results of different types never share one.
type shareKey[T any] struct{ name string }

var errNobodyWaits = errors.New("nobody waits for the shared call any more")

// together makes a call together with all who ask for the same key while it is under way. It has the values of the first
// one's context, and ends when its last one leaves.
func together[T any](ctx context.Context, f *flights, name string, call func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	key := shareKey[T]{name}
	f.mu.Lock()
	its := f.byKey[key]
	if its == nil {
		var own context.Context
		its = &flight{done: make(chan struct{}), err: errors.New("the shared call ended its goroutine")}
		own, its.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		if f.byKey == nil {
			f.byKey = map[any]*flight{}
		}
		f.byKey[key] = its
		go func() {
			defer f.land(key, its)
			its.value, its.err = call(own)
		}()
	}
	its.waiting++
	f.mu.Unlock()
	select {
	case <-its.done:
		if its.panicked != nil {
			panic(its.panicked) //nolint:forbidigo // the call's own
		}
		value, _ := its.value.(T)
		return value, its.err
	case <-ctx.Done():
		f.leave(key, its)
		return none, context.Cause(ctx)
	}
}

// land ends a flight. It recovers a panic of the call for those who wait to have it.
func (f *flights) land(key any, its *flight) {
	its.panicked = recover()
	f.mu.Lock()
	if f.byKey[key] == its {
		delete(f.byKey, key)
	}
	f.mu.Unlock()
	its.cancel(nil)
	close(its.done)
}

// leave counts one out who doesn't wait any longer. The last one ends the call, and nobody joins it then.
func (f *flights) leave(key any, its *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if its.waiting--; its.waiting > 0 {
		return
	}
	if f.byKey[key] == its {
		delete(f.byKey, key)
	}
	its.cancel(errNobodyWaits)
}

// shared is an answer that was read whole, for several to have.
type shared struct {
	res  *http.Response // without its body
	body []byte
	err  error
}

// shareCall makes a request together with others.
func (t *Transport) shareCall(req *http.Request, name string) (*http.Response, error) {
	got, err := together(req.Context(), &t.caller.flights, name, func(ctx context.Context) (*shared, error) {
		own := req.Clone(ctx)
		if hasBody(req) {
			body, err := req.GetBody()
			if err != nil {
				return nil, &Error{Pool: t.caller.plan.Name, Err: err}
			}
			own.Body = body
		}
		res, err := t.make(own)
		if res == nil {
			return nil, err
		}
		body, failed := io.ReadAll(io.LimitReader(res.Body, maxShared+1))
		_ = res.Body.Close()
		if failed == nil && len(body) > maxShared {
			failed = fmt.Errorf("an answer of more than %d MiB can't be shared", maxShared>>20)
		}
		if failed != nil {
			return nil, &Error{Pool: t.caller.plan.Name, Err: failed}
		}
		return &shared{res: res, body: body, err: err}, nil
	})
	closeBody(req)
	if got == nil {
		if _, ok := err.(*Error); !ok {
			err = &Error{Pool: t.caller.plan.Name, Err: err}
		}
		return nil, err
	}
	res := *got.res
	res.Header = res.Header.Clone()
	res.Body = io.NopCloser(bytes.NewReader(got.body))
	res.ContentLength = int64(len(got.body))
	return &res, got.err
}
