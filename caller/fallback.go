package caller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Fallback makes a call by the first of several routes that succeeds: with another model, over another pool, from a cache.
//
// The next route is tried if a route fails with an *Error of its pool. It isn't tried after a ClientError, or when ctx
// has ended. All routes share ctx's deadline; Config.Timeout bounds each. If all fail, the error joins all errors.
func Fallback[T any](ctx context.Context, routes ...func(context.Context) (T, error)) (T, error) {
	var value T
	errs := make([]error, 0, len(routes))
	for _, route := range routes {
		var err error
		if value, err = route(ctx); err == nil {
			return value, nil
		}
		errs = append(errs, err)
		if !fallsBack(ctx, err) {
			break
		}
	}
	if len(routes) == 0 {
		return value, errors.New("caller: Fallback has no route: give at least one")
	}
	return value, errors.Join(errs...)
}

// fallsBack reports whether a call that failed with err may succeed by another route.
func fallsBack(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !over(ctx) && e.Outcome != ClientError && e.Outcome != Canceled && !errors.Is(err, errNegativeCost)
}

// FallbackRoute is one of the ways to send a request.
type FallbackRoute struct {
	// Transport sends the request. Routes may have Transports of one pool or of several. Required.
	Transport *Transport
	// Change adapts a copy of the request to the route: another model (see UseModel), another host. If it replaces Body, it
	// replaces GetBody and ContentLength, too. Defaults to no change.
	Change func(*http.Request) error
}

// FallbackTransport returns an http.RoundTripper that sends each request by the first route that succeeds, as Fallback
// does. It returns the response of the last route that was tried. A request whose body can't be read again uses the first
// route only.
func FallbackTransport(routes ...FallbackRoute) (http.RoundTripper, error) {
	if len(routes) == 0 {
		return nil, errors.New("caller: FallbackTransport has no route: give at least one")
	}
	for i, r := range routes {
		if r.Transport == nil {
			return nil, fmt.Errorf("caller: route %d of FallbackTransport has no Transport: give each route one", i)
		}
	}
	return fallback(routes), nil
}

type fallback []FallbackRoute

// RoundTrip sends a request. One that follows a redirect to another host isn't a call of any route, and has no key.
func (f fallback) RoundTrip(req *http.Request) (*http.Response, error) {
	if crossesOrigin(req) {
		return f[0].Transport.base.RoundTrip(req) // without a key
	}
	for i, route := range f {
		copied, err := route.request(req, i > 0)
		if err != nil {
			return nil, err
		}
		t := route.Transport
		res, err := t.do(copied)
		last := i == len(f)-1 || !replayable(req)
		if err == nil || last || !fallsBack(req.Context(), err) {
			return t.respond(copied, res, err)
		}
		drain(res)
	}
	return nil, errors.New("caller: a fallback has no route") // FallbackTransport makes none
}

// request returns the route's copy of a request. A later route has a new body.
func (r FallbackRoute) request(req *http.Request, later bool) (*http.Request, error) {
	copied := req.Clone(req.Context())
	if later && hasBody(req) {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		copied.Body = body
	}
	if r.Change == nil {
		return copied, nil
	}
	if err := r.Change(copied); err != nil {
		closeBody(copied)
		return nil, fmt.Errorf("caller: change a request for a fallback: %w", err)
	}
	return copied, nil
}

// UseModel returns a change of a request's model, for requests whose body is a JSON object with the member model.
func UseModel(model string) func(*http.Request) error {
	return func(r *http.Request) error {
		if !hasBody(r) {
			return nil
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return err
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			return fmt.Errorf("the body isn't a JSON object: %w", err)
		}
		name, err := json.Marshal(model)
		if err != nil {
			return err
		}
		members["model"] = name
		if body, err = json.Marshal(members); err != nil {
			return err
		}
		r.ContentLength = int64(len(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.Body, err = r.GetBody()
		r.Header.Del("Content-Length")
		return err
	}
}
