package caller

import (
	"maps"
	"net/http"
	"slices"

	"github.com/penstock/penstock/caller/internal/usage"
)

// usageMeter reads a call's usage from the text of its response.
type usageMeter struct {
	usage  func([]byte) Cost
	input  int64 // tokens that the prompt was estimated at
	reader *usage.Reader
	cost   Cost
}

// readUsage is the usage that was read of a response.
type readUsage struct {
	cost Cost // nil: none
	// partial says that the response wasn't read to its end, so that cost is in part an estimate.
	partial bool
	// final says that the provider charges cost, or nearly so. Otherwise only a shortfall is known.
	final bool
}

// newUsageMeter returns nil if the response's usage can't be read or changes nothing.
func (p *settings) newUsageMeter(res *http.Response, estimated Cost) *usageMeter {
	if p.Profile.Usage == nil || !p.needsUsage() {
		return nil
	}
	m := &usageMeter{usage: p.Profile.Usage, input: estimated[InputTokens]}
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

func (m *usageMeter) write(b []byte) { m.reader.Write(b) }

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

// total returns the usage so far. ended says that the body was read to its end.
//
// Of a stream that was given up or cut, the output is estimated from the text that was read: the provider stops there. An
// answer in one piece was produced as a whole, so the text that was read is its least output.
func (m *usageMeter) total(ended bool) readUsage {
	stream := m.reader.Stream()
	if m.reader.Complete() || ended && stream {
		return readUsage{cost: m.cost, final: true}
	}
	read := m.reader.Tokens()
	if !stream && m.cost == nil && read == 0 {
		return readUsage{}
	}
	cost := maps.Clone(m.cost)
	if cost == nil {
		cost = Cost{}
	}
	cost[OutputTokens] = max(cost[OutputTokens], read)
	if in := max(cost[InputTokens], m.input); in > 0 || stream {
		cost[Tokens] = max(cost[Tokens], in+cost[OutputTokens])
	}
	return readUsage{cost: cost, partial: true, final: stream}
}
