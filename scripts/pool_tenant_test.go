package scripts

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// tenantPress drives sessions whose tenants ask for calls, on a clock of its own.
type tenantPress struct {
	rdb      *redis.Client
	pool     string
	shapes   []*EncodedConfig
	seq      int64
	now      int64
	served   []int           // calls, by tenant
	delay    []time.Duration // of the last call, by tenant: how long after the ask it is sent
	interval float64
}

func newTenantPress(rdb *redis.Client, pool string, sessions int, interval float64, tenants []PoolTenant) *tenantPress {
	p := &tenantPress{
		rdb: rdb, pool: pool, now: 300_000_000_000_000, interval: interval,
		served: make([]int, len(tenants)), delay: make([]time.Duration, len(tenants)),
	}
	for i := range sessions {
		p.shapes = append(p.shapes, EncodeConfig(&PoolConfig{
			Session: fmt.Sprint("s", i), TTL: 10 * time.Second, Horizon: 200 * time.Millisecond, Strategy: LeastLoaded, Metrics: 1,
			Limits:      []PoolLimit{{Name: "l", Scope: PerAccount, Interval: interval, Burst: 2, Limit: 100}},
			ModelGroups: []PoolModelGroup{{Limits: []int{0}}},
			Accounts:    []PoolAccount{{ID: "a", Keys: []PoolKeyWeight{{"k", 1}}}, {ID: "b", Keys: []PoolKeyWeight{{"l", 1}}}},
			Tenants:     tenants,
		}))
	}
	return p
}

// ask asks for calls of tenants in one call of a session.
func (p *tenantPress) ask(t *testing.T, session, count int, tenants ...int) {
	t.Helper()
	p.seq++
	c := &PoolCall{Config: p.shapes[session], Seq: p.seq, Now: p.now}
	for _, tenant := range tenants {
		c.Demands = append(c.Demands, PoolDemand{Count: count, Ahead: 100 * time.Millisecond, Prefer: -1, Cost: []int64{1}, Tenant: tenant})
	}
	reply, err := Admit(t.Context(), p.rdb, p.pool, c)
	if err != nil {
		t.Fatal(err)
	}
	grants := reply.Grants
	for i, tenant := range tenants {
		n := reply.Admitted[i]
		p.served[tenant] += n
		if n > 0 {
			p.delay[tenant] = time.Duration(grants[n-1].SendAt-p.now) * time.Microsecond
		}
		grants = grants[n:]
	}
}

// quota is how many calls the limits allow in a time.
func (p *tenantPress) quota(d time.Duration) float64 { return 2 * d.Seconds() / p.interval }

// While tenants of several processes press, they share by weight, though one asks for more, and first.
func TestPoolTenants_ShareByWeight(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t) // miniredis takes ten times as long
	for name, sessions := range map[string]int{"one process": 1, "eight processes": 8} {
		p := newTenantPress(rdb, name, sessions, 0.02, []PoolTenant{{Name: "a", Weight: 3}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1}})
		const last = 20 * time.Second
		for step := range int(last / (10 * time.Millisecond)) {
			p.now += 10_000
			if sessions == 1 {
				p.ask(t, 0, 50, 1, 2, 0)
			} else { // only one of them has calls of a
				p.ask(t, step%sessions, 20, []int{0, 1, 2, 1, 2, 1, 2, 1}[step%sessions])
			}
		}
		whole := p.quota(last)
		for i, weight := range []float64{3, 1, 1} {
			if share := float64(p.served[i]) / whole; math.Abs(share-weight/5) > 0.03*weight/5 {
				t.Errorf("%s, tenant %d: got %.4f of the quota, want %.4f", name, i, share, weight/5)
			}
		}
	}
}

// What a tenant leaves idle is used, and it has its share again at once.
func TestPoolTenants_IdleSharesAreUsed(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t) // miniredis takes ten times as long
	p := newTenantPress(rdb, "p", 2, 0.02, []PoolTenant{{Name: "a", Weight: 3}, {Name: "b", Weight: 1}})
	const part = 10 * time.Second // long beside the 15 calls that b takes before a first asks
	for phase, want := range [][2]float64{{0.75, 0.25}, {0, 1}, {0.75, 0.25}} {
		clear(p.served)
		for range int(part / (10 * time.Millisecond)) {
			p.now += 10_000
			p.ask(t, 1, 50, 1)
			if phase != 1 {
				p.ask(t, 0, 50, 0)
			}
		}
		for i := range want {
			if got := float64(p.served[i]) / p.quota(part); math.Abs(got-want[i]) > 0.02 {
				t.Errorf("phase %d, tenant %d: got %.4f of the quota, want %.4f", phase, i, got, want[i])
			}
		}
	}
}

// A guaranteed tenant that wakes is served within two slots, whatever the others have waiting, and has its share though its
// weight is less.
func TestPoolTenants_GuaranteedIsServedAtOnce(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t) // miniredis takes ten times as long
	tenants := []PoolTenant{{Name: "a", Weight: 3}, {Name: "b", Weight: 1}, {Name: "c", Weight: 0.1, Guaranteed: 0.2}}
	p := newTenantPress(rdb, "p", 3, 0.02, tenants)
	for step := range 2000 {
		p.now += 5000
		if step%200 == 0 { // once a second
			p.ask(t, 2, 1, 2)
			if p.delay[2] > 2*20*time.Millisecond {
				t.Fatalf("step %d: the guaranteed call is sent %v after its ask, want two slots of 20 ms at most", step, p.delay[2])
			}
		}
		p.ask(t, step%2, 50, step%2)
	}
	if got := p.served[2]; got != 10 {
		t.Errorf("got %d calls of the guaranteed tenant, want 10", got)
	}
	clear(p.served)
	for range 1000 {
		p.now += 5000
		for i := range 3 {
			p.ask(t, i, 50, i)
		}
	}
	whole := p.quota(5 * time.Second)
	if got := float64(p.served[2]) / whole; got < 0.195 {
		t.Errorf("got %.4f of the quota for the guaranteed tenant, want 0.2", got)
	}
	if got := float64(p.served[0]+p.served[1]+p.served[2]) / whole; got < 0.98 {
		t.Errorf("got %.4f of the quota used, want 0.98", got)
	}
}

// Fifty of a thousand tenants press, from eight processes: each gets the same, and none starves. The others leave nothing
// behind.
func TestPoolTenants_ManyAreFair(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t) // miniredis takes ten times as long
	tenants := make([]PoolTenant, 1000)
	for i := range tenants {
		tenants[i] = PoolTenant{Name: fmt.Sprint("tenant ", i), Weight: 1}
	}
	p := newTenantPress(rdb, "p", 8, 0.004, tenants)
	for i := 0; i < len(tenants); i += 4 {
		p.ask(t, 0, 1, i, i+1, i+2, i+3)
	}
	clear(p.served)
	p.now += 30_000_000
	var pressing []int
	for i := range 50 {
		pressing = append(pressing, i*20)
	}
	for step := range 1500 {
		p.now += 4000
		s := step % 8
		p.ask(t, s, 5+40*s, pressing[s*6:min(50, s*6+8)]...)
	}
	sum, squares := 0.0, 0.0
	for _, i := range pressing {
		n := float64(p.served[i])
		sum, squares = sum+n, squares+n*n
	}
	if jain := sum * sum / 50 / squares; jain < 0.98 {
		t.Errorf("Jain's index %.4f, want 0.98: %v", jain, p.served)
	}
	if used := sum / p.quota(6*time.Second); used < 0.98 {
		t.Errorf("used %.4f of the quota, want 0.98", used)
	}
	if n := len(rdb.HGet(t.Context(), PoolKey("p"), "y").Val()); n > 50*80 {
		t.Errorf("the tenants' field has %d bytes, want those of fifty tenants", n)
	}
}
