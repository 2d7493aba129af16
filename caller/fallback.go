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

// Fallback makes a call in the first of several ways that succeeds: with another model, over another pool, from a cache.
// The next way is tried where the one before failed for reasons of its own: an *Error of the pool, unless the call itself
// was at fault, or ctx has ended. All share ctx's deadline; Config.Timeout keeps a way from using it up. The error is that
// of all ways, joined.
func Fallback[T any](ctx context.Context, ways ...func(context.Context) (T, error)) (T, error) {
	var value T
	errs := make([]error, 0, len(ways))
	for _, way := range ways {
		var err error
		if value, err = way(ctx); err == nil {
			return value, nil
		}
		errs = append(errs, err)
		if !elsewhere(ctx, err) {
			break
		}
	}
	if len(ways) == 0 {
		return value, errors.New("caller: Fallback has no way to make the call: give at least one")
	}
	return value, errors.Join(errs...)
}

// elsewhere reports whether what failed with err may succeed in another way.
func elsewhere(ctx context.Context, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !over(ctx) && e.Outcome != ClientError && e.Outcome != Canceled && !errors.Is(err, errNegativeCost)
}

// Way is one way of sending a request.
type FallbackRoute struct {
	// Transport sends it: of another pool, or of the same one. Required.
	Transport *Transport
	// Change makes the request fit for it, on a copy: another model (see UseModel), another host. One that replaces Body
	// replaces GetBody and ContentLength, too. Optional.
	Change func(*http.Request) error
}

// FallbackTransport returns an http.RoundTripper that sends each request in the first of several ways that succeeds, as
// Fallback does. The answer is that of the last way tried. Requests whose body can't be read again go the first way only.
func FallbackTransport(ways ...FallbackRoute) (http.RoundTripper, error) {
	if len(ways) == 0 {
		return nil, errors.New("caller: FallbackTransport needs at least one way")
	}
	for i, w := range ways {
		if w.Transport == nil {
			return nil, fmt.Errorf("caller: way %d of FallbackTransport has no Transport", i)
		}
	}
	return fallback(ways), nil
}

type fallback []FallbackRoute

// RoundTrip sends a request.
func (f fallback) RoundTrip(req *http.Request) (*http.Response, error) {
	for i, way := range f {
		copied, err := way.request(req, i > 0)
		if err != nil {
			return nil, err
		}
		t := way.Transport
		res, err := t.call(copied)
		last := i == len(f)-1 || hasBody(req) && req.GetBody == nil
		if err == nil || last || !elsewhere(req.Context(), err) {
			return t.answer(copied, res, err)
		}
		drain(res)
	}
	return nil, errors.New("caller: a fallback without ways") // FallbackTransport makes none
}

// request returns the request as the way wants it.
func (w FallbackRoute) request(req *http.Request, again bool) (*http.Request, error) {
	copied := req.Clone(req.Context())
	if again && hasBody(req) {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		copied.Body = body
	}
	if w.Change == nil {
		return copied, nil
	}
	if err := w.Change(copied); err != nil {
		closeBody(copied)
		return nil, fmt.Errorf("caller: change a request for a fallback: %w", err)
	}
	return copied, nil
}

// UseModel returns a change that puts another model into a request whose body is JSON with a member model.
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
			return fmt.Errorf("the body is no JSON object: %w", err)
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
