package caller

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/penstock/penstock/caller/internal/singleflight"
)

// maxShared is the longest response that several requests can share, in bytes.
const maxShared = 64 << 20

// withDedup runs a call once for all calls with the same key and type of result that are under way.
func withDedup[T any](ctx context.Context, c *Pool, key string, run func(context.Context) (T, error)) (T, error) {
	value, err := singleflight.Do(ctx, &c.flights, key, run)
	if _, ok := err.(*Error); err != nil && !ok { // this call's own context has ended
		err = &Error{Pool: c.settings.Name, Err: err}
	}
	return value, err
}

// sharedResponse is a response that was read whole, of which each request gets a copy.
type sharedResponse struct {
	res  *http.Response // its body is replaced in the copies
	body []byte
	err  error
}

// doShared makes one call for all requests with the same DedupKey that are under way.
func (t *Transport) doShared(req *http.Request, key string) (*http.Response, error) {
	own := req.Clone(req.Context()) // the call may go on when the user has the request back
	if hasBody(req) {
		own.Body = nil
	}
	shared, err := withDedup(req.Context(), t.pool, key, func(ctx context.Context) (*sharedResponse, error) {
		return t.readShared(ctx, own)
	})
	closeBody(req)
	if shared == nil {
		return nil, err
	}
	res := *shared.res
	res.Header = res.Header.Clone()
	res.Body = io.NopCloser(bytes.NewReader(shared.body))
	if mayHaveBody(shared.res) {
		res.ContentLength = int64(len(shared.body))
	}
	return &res, shared.err
}

// readShared makes the call of a request, with a context of its own, and reads the response.
func (t *Transport) readShared(ctx context.Context, req *http.Request) (*sharedResponse, error) {
	own := req.WithContext(ctx)
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, &Error{Pool: t.pool.settings.Name, Err: err}
		}
		own.Body = body
	}
	res, err := t.doOnce(own, true)
	if res == nil {
		return nil, err
	}
	body, failed := io.ReadAll(io.LimitReader(res.Body, maxShared+1))
	_ = res.Body.Close()
	if failed == nil && len(body) > maxShared {
		failed = fmt.Errorf("the response is longer than %d MiB and can't be shared: send the request without DedupKey", maxShared>>20)
	}
	if failed != nil {
		return nil, &Error{Pool: t.pool.settings.Name, Err: failed}
	}
	return &sharedResponse{res: res, body: body, err: err}, nil
}
