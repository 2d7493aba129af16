package scripts

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// A thousand keys that were rotated leave no field behind: two hours after their last use, and a few calls, the state is
// as large as before.
func TestPool_RotatedKeysLeaveNothing(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	l := window(0, 1000, time.Minute, 10)
	l.Scope = PerKey
	p := newTestPool(t, rdb, oneLimit(4, l))
	use := func() {
		p.now += 200_000
		p.must("s", PoolCall{Demands: calls(1, 1)})
	}
	for range 20 {
		use()
	}
	size := func() int64 { return rdb.HLen(t.Context(), PoolKey("p")).Val() }
	before := size()
	for i := range 1000 {
		p.cfg.Accounts[i%4].Keys = []PoolKeyWeight{{fmt.Sprint("rotated", i), 1}}
		use()
	}
	p.now += (2 * time.Hour).Microseconds()
	for range 500 {
		use()
	}
	if after := size(); after > before+before/10 {
		t.Errorf("got %d fields after 1000 rotations, want at most 10 %% more than %d", after, before)
	}
}

// A session that comes back after its number was dropped is served, and its late calls are stale again.
func TestPool_AnIdleSessionComesBack(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, redistest.Client(t), oneLimit(1, window(0, 1000, time.Minute, 10)))
	last := p.must("s", PoolCall{Demands: calls(1, 1)}).Version
	for range 20 { // others use the pool meanwhile
		p.now += time.Minute.Microseconds()
		p.must("other", PoolCall{Demands: calls(1, 1)})
	}
	if r := p.must("s", PoolCall{Expected: last, Demands: calls(1, 1)}); len(r.Grants) != 1 {
		t.Errorf("got %d calls admitted, want 1", len(r.Grants))
	}
	if _, err := p.call("s", PoolCall{Seq: 1, Demands: calls(1, 1)}); !errors.Is(err, ErrStale) {
		t.Errorf("a late call: got %v, want ErrStale", err)
	}
}
