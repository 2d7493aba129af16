package scripts

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// holder is a session that holds or wants permits of a limit of 4, with a TTL of 10 s.
type holder struct {
	t   *testing.T
	rdb *redis.Client
	id  string
	seq int64
}

func (h *holder) report(now, held, wanted int64) *SemaphoreReply {
	h.t.Helper()
	h.seq++
	reply, err := ReportSemaphore(h.t.Context(), h.rdb, "clock", &SemaphoreReport{
		Session: h.id, Seq: h.seq, TTL: 10 * time.Second, Limit: 4, Held: held, Alloc: held, Need: min(wanted, 1),
		Want: [3]int64{0, held + wanted, 0}, Now: now,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return reply
}

// When Redis' clock jumps ahead, sessions end before their time: the sum exceeds the limit by one limit at most, and
// heals. When it is set back, the permits of a dead session come back a TTL later, and not when the old time returns.
func TestSemaphore_SurvivesClockJumps(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		a, b := &holder{t: t, rdb: rdb, id: "a"}, &holder{t: t, rdb: rdb, id: "b"}
		const second, hour = int64(1e6), int64(3600e6)
		now := int64(semStart)
		a.report(now, 0, 4)
		if r := b.report(now+second, 0, 4); r.Alloc != 0 {
			t.Fatalf("%d permits were given twice", r.Alloc)
		}
		now += hour
		if r := b.report(now, 0, 4); r.Alloc != 4 {
			t.Errorf("an ended session's permits aren't free: %d of 4", r.Alloc)
		}
		if r := a.report(now, 4, 4); r.Alloc != 4 || r.Share != 2 {
			t.Errorf("the session that came back: %+v", r)
		}
		if r := a.report(now+second, 2, 4); r.Alloc != 2 { // as its leases end
			t.Errorf("it was given more while the sum is above the limit: %+v", r)
		}
		now -= hour // and b is dead
		if r := a.report(now, 2, 2); r.Alloc != 2 {
			t.Errorf("just after: %+v", r)
		}
		if r := a.report(now+11*second, 2, 2); r.Alloc != 4 {
			t.Errorf("a TTL after the clock was set back, a dead session still has its permits: %+v", r)
		}
	})
}

// Dead sessions are gone after the TTL, however many they are.
func TestSemaphore_DropsDeadSessionsAfterTheTTL(t *testing.T) {
	rdb := redistest.Client(t)
	now := int64(semStart)
	for i := range 300 {
		(&holder{t: t, rdb: rdb, id: fmt.Sprint("h", i)}).report(now, 0, 1)
	}
	last := &holder{t: t, rdb: rdb, id: "last"}
	if r := last.report(now+11e6, 0, 4); r.Alloc != 4 || r.Sessions != 1 {
		t.Errorf("after the TTL of 300 dead sessions: %+v", r)
	}
	if n := rdb.HLen(t.Context(), SemaphoreKey("clock")).Val(); n != 5 {
		t.Errorf("%d fields are left, want the configuration, the generation, the sessions, and two of the one that is left", n)
	}
}
