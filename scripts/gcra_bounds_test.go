package scripts

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// TestGCRA_SaturatesFarTimes charges, books and observes far beyond what 64 bits of nanoseconds hold, and reads a state
// that is further ahead than that.
func TestGCRA_SaturatesFarTimes(t *testing.T) {
	rdb := redistest.Client(t)
	limit := GCRALimit{Interval: 36, Burst: 100, Cost: 1 << 52}
	for name, far := range map[string]func(c *GCRA){
		"debit":   func(c *GCRA) { c.Debit(limit) },
		"observe": func(c *GCRA) { c.Observe(limit, 0, 1<<62); c.Debit(limit) },
		"reserve": func(c *GCRA) { c.Debit(limit); c.Reserve(1, nil, GCRALimit{Interval: 36, Burst: 100, Cost: 1}) },
		"state":   func(*GCRA) { rdb.Set(t.Context(), "state", "1e300", 0) },
	} {
		call := NewGCRA([]string{name}, make([]GCRAState, 1), 0, 20)
		far(call)
		if _, err := call.Run(t.Context(), rdb); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		allow := GCRAAllow{Key: name, Count: 1, Limit: GCRALimit{Interval: 36, Burst: 100, Cost: 1}}
		reply, err := allow.Run(t.Context(), rdb)
		if err != nil || reply.Results()[0] != 0 || reply.Ahead(0) < 280*365*24*time.Hour {
			t.Errorf("%s: got %v ahead and %d admitted, %v; want over 280 years and none", name, reply.Ahead(0), reply.Results()[0], err)
		}
	}
}
