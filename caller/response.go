package caller

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/penstock/penstock/caller/internal/usage"
)

// meteredBody is a response's body that ends the attempt when it has been read to the end or closed, and settles the
// call's usage.
type meteredBody struct {
	io.ReadCloser
	grant *Grant
	usage *usageMeter // nil: the usage isn't read
}

// meter returns the response's body as one that ends the attempt. If there is nothing to read, it ends the attempt at
// once.
func meter(res *http.Response, g *Grant) io.ReadCloser {
	if res.Body == http.NoBody || !mayHaveBody(res) {
		g.finishAttempt()
		return res.Body
	}
	metered := &meteredBody{res.Body, g, g.pool.settings.newUsageMeter(res)}
	if w, ok := res.Body.(io.Writer); ok { // 101 Switching Protocols
		return struct {
			*meteredBody
			io.Writer
		}{metered, w}
	}
	return metered
}

// mayHaveBody reports whether the response may have a body. HTTP/2 gives responses without one a body of its own type.
func mayHaveBody(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusNoContent, http.StatusNotModified:
		return false
	case http.StatusSwitchingProtocols:
		return true
	}
	return res.Request == nil || res.Request.Method != http.MethodHead
}

// Read reads from the body. Its end or an error ends the attempt.
func (b *meteredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 && b.usage != nil {
		b.usage.write(p[:n])
	}
	if err != nil {
		b.settle(errors.Is(err, io.EOF))
		b.grant.finishAttempt()
	}
	return n, err
}

// Close closes the body and ends the attempt.
func (b *meteredBody) Close() error {
	err := b.ReadCloser.Close()
	b.settle(false)
	b.grant.finishAttempt()
	return err
}

// settle settles the usage that was read so far. ended says that the body was read to its end.
func (b *meteredBody) settle(ended bool) {
	if b.usage == nil {
		return
	}
	if cost, whole := b.usage.total(ended); cost != nil {
		b.grant.settle(cost, whole)
	}
}

// heldBody is a body that ends the attempt when it has been read to the end or closed.
type heldBody struct {
	io.ReadCloser
	grant *Grant
}

// Read reads from the body. Its end or an error ends the attempt.
func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.grant.finishAttempt()
	}
	return n, err
}

// Close closes the body and ends the attempt.
func (b *heldBody) Close() error {
	err := b.ReadCloser.Close()
	b.grant.finishAttempt()
	return err
}

// replayBody is the body of an error response: the beginning, which was read to judge the response, and the rest. Its
// permit has been released.
type replayBody struct {
	io.Reader
	io.Closer
	grant *Grant
}

// Close closes the body and ends the attempt's context.
func (b *replayBody) Close() error {
	err := b.Closer.Close()
	b.grant.ctx.end()
	return err
}

// usageMeter reads a call's usage from its response. It is safe for concurrent use, because a body may be closed during
// a Read.
type usageMeter struct {
	usage func([]byte) Cost

	mu     sync.Mutex
	reader *usage.Reader
	cost   Cost
}

// newUsageMeter returns nil if the response's usage can't be read or changes nothing.
func (p *settings) newUsageMeter(res *http.Response) *usageMeter {
	if p.Profile.Usage == nil || !p.needsUsage() || res.Header.Get("Content-Encoding") != "" {
		return nil
	}
	m := &usageMeter{usage: p.Profile.Usage}
	if m.reader = usage.NewReader(res.Header.Get("Content-Type"), m.found); m.reader == nil {
		return nil
	}
	return m
}

// needsUsage reports whether the usage of calls changes anything: a hook reads it, or a limit counts it.
func (p *settings) needsUsage() bool {
	if p.Hooks.UsageRead != nil {
		return true
	}
	limited := func(m Metric) bool { return slices.Contains(p.metrics, m) }
	return slices.ContainsFunc(p.Profile.Settled, limited) || slices.ContainsFunc(p.Profile.Calibrated, limited)
}

func (m *usageMeter) write(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reader.Write(b)
}

// found adds the usage that a document reports. A later figure of a metric replaces an earlier one.
func (m *usageMeter) found(document []byte) {
	cost := m.usage(document)
	if len(cost) == 0 {
		return
	}
	if m.cost == nil {
		m.cost = Cost{}
	}
	maps.Copy(m.cost, cost)
}

// total returns the usage so far, and whether it is that of the whole call.
func (m *usageMeter) total(ended bool) (cost Cost, whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cost, ended || m.reader.Complete()
}

// drainLimit is the number of bytes that drain reads of a response, so that its connection can be used again.
const drainLimit = 16 << 10

// drain ends a response that isn't returned.
func drain(res *http.Response) {
	if res != nil {
		_, _ = io.CopyN(io.Discard, res.Body, drainLimit)
		_ = res.Body.Close()
	}
}
