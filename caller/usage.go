package caller

import (
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// usageReader finds out what a call really cost from its answer, as whoever asked for that reads it.
type usageReader struct {
	usage func([]byte) Cost

	mu      sync.Mutex // Close may come while a Read is under way
	events  *events    // nil for an answer that is one document
	outline skeleton
	cost    Cost
}

// newUsageReader returns nil for an answer that nothing can be learned from, or whose cost nobody wants to know.
func (p *settings) newUsageReader(res *http.Response) *usageReader {
	if p.Profile.Usage == nil || !p.settles() || res.Header.Get("Content-Encoding") != "" {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case kind == "text/event-stream":
		return &usageReader{usage: p.Profile.Usage, events: &events{}}
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return &usageReader{usage: p.Profile.Usage}
	}
	return nil
}

// settles reports whether it makes a difference what a call really cost.
func (p *settings) settles() bool {
	if p.Hooks.UsageRead != nil {
		return true
	}
	limited := func(m Metric) bool { return slices.Contains(p.metrics, m) }
	return slices.ContainsFunc(p.Profile.Settled, limited) || slices.ContainsFunc(p.Profile.Calibrated, limited)
}

// write takes in what was read.
func (u *usageReader) write(b []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.events == nil {
		u.outline.write(b, u.found)
		return
	}
	u.events.write(b, func(data []byte) { u.outline.write(data, u.found) }, u.outline.reset)
}

func (u *usageReader) found(document []byte) {
	cost := u.usage(document)
	if len(cost) == 0 {
		return
	}
	if u.cost == nil {
		u.cost = Cost{}
	}
	maps.Copy(u.cost, cost)
}

// total returns what the answer told so far, and whether that is all, which the answer's end shows.
func (u *usageReader) total(end bool) (cost Cost, whole bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.events != nil:
		whole = end || u.events.done
	default:
		whole = end || u.outline.whole()
	}
	return u.cost, whole
}

// settle tells the grant what the answer told.
func (b *heldBody) settle(err error) {
	if b.usage == nil {
		return
	}
	if cost, whole := b.usage.total(errors.Is(err, io.EOF)); cost != nil {
		b.grant.settle(cost, whole)
	}
}
