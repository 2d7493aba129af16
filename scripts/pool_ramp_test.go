package scripts

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// admittedIn returns how many calls a pool admits in the next seconds, if each call of the script carries a RampUp.
func (p *testPool) admittedIn(session string, ramp time.Duration, seconds int) int {
	n := 0
	for range 10 * seconds {
		n += len(p.must(session, PoolCall{Reports: []PoolReport{{Kind: RampUp, For: ramp}}, Demands: calls(200, 1)}).Grants)
		p.now += 100_000
	}
	return n
}

// From a pool's first start on, the pace grows from a tenth to the whole, for all sessions, on limits of every kind.
func TestPool_RampsUp(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		bucket := window(0, 600, time.Minute, 1)
		bucket.Burst = 600
		for name, cfg := range map[string]*PoolConfig{
			"burst of 1": oneLimit(1, window(0, 600, time.Minute, 1)),
			"bucket":     oneLimit(1, bucket),
			"own limit":  ownLimit(),
		} {
			rdb.FlushDB(t.Context())
			p := newTestPool(t, rdb, cfg)
			const ramp = 20 * time.Second
			first, half := p.admittedIn("s", ramp, 4), p.admittedIn("another", ramp, 16)
			_ = p.admittedIn("s", ramp, 60) // what the bucket has kept back
			whole := p.admittedIn("s", ramp, 10)
			if first < 4 || first > 120 || half <= first || whole < 95 {
				t.Errorf("%s: got %d calls in the first 4 s, %d in the next 16 s and %d in 10 s later, want few, more, and about 100",
					name, first, half, whole)
			}
		}
	})
}

// ownLimit is a pool whose only account has a limit of its own.
func ownLimit() *PoolConfig {
	cfg := oneLimit(1, window(0, 6, time.Minute, 1))
	own := window(0, 600, time.Minute, 1)
	own.Account = "org-0"
	cfg.Limits = append(cfg.Limits, own)
	cfg.ModelGroups = []PoolModelGroup{{Limits: []int{0, 1}}}
	return cfg
}

// Counts aren't ramped, a report without a young pool has no effect, and a loss of state is no first start.
func TestPool_RampsUpAfterFirstStartAlone(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		ramp := []PoolReport{{Kind: RampUp, For: time.Hour}}
		daily := oneLimit(1, PoolLimit{Name: "daily", Burst: 50, Limit: 50, End: testStart + day, Period: 24 * time.Hour})
		if got := len(newTestPool(t, rdb, daily).must("s", PoolCall{Reports: ramp, Demands: calls(100, 1)}).Grants); got != 50 {
			t.Errorf("got %d calls of a count of 50, want all", got)
		}
		rdb.FlushDB(t.Context())
		p := newTestPool(t, rdb, oneLimit(1, window(0, 1200, time.Minute, 1)))
		version := p.must("s", PoolCall{Demands: calls(1, 1)}).Version
		rdb.FlushDB(t.Context())
		p.now += 1_000_000
		if _, err := p.call("s", PoolCall{Reports: ramp, Expected: version, Demands: calls(10, 1)}); err == nil {
			t.Fatal("got no error, want that the state was lost")
		}
		p.now += 10_000_000
		if got := len(p.must("s", PoolCall{Reports: ramp, Demands: calls(10, 1)}).Grants); got < 2 {
			t.Errorf("got %d calls within 100 ms after a loss, want the whole pace: 2", got)
		}
		p.now += 1_000_000
		rdb.FlushDB(t.Context())
		if got := len(p.must("new", PoolCall{Reports: ramp, Demands: calls(10, 1)}).Grants); got != 1 {
			t.Errorf("got %d calls within 100 ms of a first start, want 1", got)
		}
	})
}

const day = int64(24 * time.Hour / time.Microsecond)
