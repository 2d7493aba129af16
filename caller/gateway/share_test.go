package gateway_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/internal/testkit"
)

// crowd presses requests of clients through a gateway until stop.
type crowd struct {
	front    http.Handler
	answered map[string]*atomic.Int64
	all      sync.WaitGroup
	stop     context.CancelFunc
	ctx      context.Context
}

func (c *crowd) press(client string, callers int) {
	for range callers {
		c.all.Go(func() {
			for c.ctx.Err() == nil {
				r := httptest.NewRequestWithContext(c.ctx, http.MethodPost, "/v1/x", strings.NewReader("{}"))
				r.Header.Set("Authorization", "Bearer "+tokenOf(client))
				w := httptest.NewRecorder()
				c.front.ServeHTTP(w, r)
				if w.Code == http.StatusOK {
					c.answered[client].Add(1)
				}
			}
		})
	}
}

func tokenOf(client string) string { return "token-of-client-0123456789-" + client }

// shared starts a gateway over a pool with so many requests a second, for clients with shares.
func shared(t *testing.T, rate int64, clients ...gateway.Client) *crowd {
	t.Helper()
	c := &crowd{answered: map[string]*atomic.Int64{}}
	for i := range clients {
		clients[i].Tokens = []gateway.TokenHash{hash(t, tokenOf(clients[i].Name))}
		c.answered[clients[i].Name] = new(atomic.Int64)
	}
	b := serve(t, func(http.ResponseWriter, *http.Request) {}, options{
		pool: func(p *caller.Config) {
			p.Tenants = gateway.Tenants(clients)
			p.Concurrency = 0
			p.Limits = []caller.Limit{{Metric: caller.Requests, Rate: rate, Period: time.Second, Algorithm: caller.Bucket, Burst: 1}}
		},
		gateway: func(g *gateway.Config) { g.Clients = clients },
	})
	c.front = b.gateway
	c.ctx, c.stop = context.WithCancel(testkit.Context(t))
	t.Cleanup(func() { c.stop(); c.all.Wait(); b.permitsBack(t) })
	return c
}

// While all clients press, each has its share; when some leave, the others use what those leave.
func TestShares_AreKeptWhileAllPress(t *testing.T) {
	t.Parallel()
	c := shared(t, 200, gateway.Client{Name: "a", Share: 3}, gateway.Client{Name: "b"}, gateway.Client{Name: "c"})
	for name := range c.answered {
		c.press(name, 20)
	}
	total := func() (n int64) {
		for _, a := range c.answered {
			n += a.Load()
		}
		return n
	}
	testkit.Eventually(t, "all press", func() bool { return total() > 100 })
	before := map[string]int64{}
	for name, a := range c.answered {
		before[name] = a.Load()
	}
	from := total()
	testkit.Eventually(t, "a second half", func() bool { return total() >= from+800 })
	all := float64(total() - from)
	for name, want := range map[string]float64{"a": 0.6, "b": 0.2, "c": 0.2} {
		if got := float64(c.answered[name].Load()-before[name]) / all; math.Abs(got-want) > 0.03 {
			t.Errorf("client %s: got a share of %.3f of %.0f, want %.1f within 0.03", name, got, all, want)
		}
	}
}

// A client that presses alone is served although its share is small, and one with a guaranteed share is served when it wakes
// although the other presses.
func TestShares_GuaranteedOnesWake(t *testing.T) {
	t.Parallel()
	c := shared(t, 100, gateway.Client{Name: "small", Share: 0.01}, gateway.Client{Name: "sure", Share: 0.01, Guaranteed: 0.2})
	c.press("small", 30)
	testkit.Eventually(t, "the small one has all", func() bool { return c.answered["small"].Load() >= 100 })
	before := c.answered["small"].Load()
	c.press("sure", 1)
	testkit.Eventually(t, "the sure one is served", func() bool { return c.answered["sure"].Load() >= 5 })
	if n := c.answered["small"].Load() - before; n > 60 {
		t.Errorf("got %d calls of others before the fifth of the client with a guaranteed fifth, want about 20", n)
	}
}

// A client's share needs no more than its name in the pool's tenants.
func TestTenants_AreTheClients(t *testing.T) {
	t.Parallel()
	if got := gateway.Tenants([]gateway.Client{{Name: "a"}, {Name: "b"}}); got != nil {
		t.Errorf("got %v without shares, want none", got)
	}
	got := fmt.Sprint(gateway.Tenants([]gateway.Client{{Name: "a", Guaranteed: 0.5}, {Name: "b", Share: 2}}))
	if want := "[{a 0 0.5} {b 2 0}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
