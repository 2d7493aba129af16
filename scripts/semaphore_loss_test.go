package scripts

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/redis/go-redis/v9"
)

const (
	lossLimit = 6
	lossTTL   = 10 * time.Second
)

// lossSession is a process that reports as package concurrency does.
type lossSession struct {
	id         string
	seq, alloc int64
	held, want int64 // want is beyond held
	known      SemaphoreVersion
	reportedAt int64
}

// lossRun is a fleet on a server that loses writes.
type lossRun struct {
	t        *testing.T
	rdb      *redis.Client
	rand     *rand.Rand
	now      int64 // µs
	sessions []*lossSession
	notified []*lossSession
	history  []map[string]string // the HASH after each report
	granted  int64
}

func (l *lossRun) report(s *lossSession) {
	l.t.Helper()
	s.seq++
	keep := s.held
	if s.want > 0 {
		keep = s.alloc
	}
	r := &SemaphoreReport{
		Session: s.id, Seq: s.seq, TTL: lossTTL, Limit: lossLimit, Held: s.held, Alloc: keep, Need: min(s.want, 1),
		Want: [3]int64{0, s.held + s.want, 0}, Expected: s.known, Now: l.now,
	}
	if keep > s.held+s.want {
		r.Want[1] = keep
	}
	reply, err := ReportSemaphore(l.t.Context(), l.rdb, "loss", r)
	if err != nil {
		l.t.Fatal(err)
	}
	if reply.State.Generation != s.known.Generation {
		l.notified = slices.Clone(l.sessions)
		l.rand.Shuffle(len(l.notified), func(i, j int) { l.notified[i], l.notified[j] = l.notified[j], l.notified[i] })
	}
	if reply.Alloc > keep {
		l.granted += reply.Alloc - keep
	}
	s.alloc, s.known, s.reportedAt = reply.Alloc, reply.State, l.now
	took := min(s.want, s.alloc-s.held)
	s.held, s.want = s.held+took, s.want-took
	l.history = append(l.history, l.rdb.HGetAll(l.t.Context(), SemaphoreKey("loss")).Val())
}

// lose makes the server lose all, or the last writes. If it may be another server, or if messages arrive, the session that
// knows least reports next. Else it is the one that has seen the last write, and the others report when it is their time.
func (l *lossRun) lose() {
	key := SemaphoreKey("loss")
	deaf, all, back := l.rand.IntN(2) == 0, l.rand.IntN(2) == 0, l.rand.IntN(8)
	l.rdb.Del(l.t.Context(), key)
	if !all && back < len(l.history) {
		fields := maps.Clone(l.history[len(l.history)-1-back])
		if g := fields["g"]; !deaf && g != "" {
			fields["g"] = fmt.Sprintf("%s %040x", g[:strings.LastIndex(g, " ")], l.rand.Uint64())
		}
		if len(fields) > 0 {
			l.rdb.HSet(l.t.Context(), key, fields)
			l.rdb.PExpire(l.t.Context(), key, time.Hour)
		}
	}
	byVersion := func(a, b *lossSession) int { return cmp.Compare(a.known.Version, b.known.Version) }
	l.now += 1000
	if deaf {
		l.report(slices.MaxFunc(l.sessions, byVersion))
		l.notified = nil
		return
	}
	s := slices.MinFunc(l.sessions, byVersion)
	s.want = lossLimit
	l.report(s)
}

// step lets one session report, after it has taken or released permits.
func (l *lossRun) step() {
	l.now += int64(1000 + l.rand.IntN(30_000))
	var s *lossSession
	switch {
	case len(l.notified) > 0:
		s, l.notified = l.notified[0], l.notified[1:]
		if s.seq == 0 {
			return
		}
	default:
		s = l.sessions[l.rand.IntN(len(l.sessions))]
		for _, o := range l.sessions {
			if o.alloc > 0 && l.now-o.reportedAt > int64(lossTTL/4/time.Microsecond) {
				s = o
			}
		}
		if l.rand.IntN(2) == 0 {
			s.want = int64(l.rand.IntN(lossLimit))
		}
		if s.held > 0 && l.rand.IntN(2) == 0 {
			s.held -= 1 + l.rand.Int64N(s.held)
		}
	}
	l.report(s)
}

// After a loss of the last writes, or of all, the fleet is never granted more than the limit: whichever session reports
// first, one that has seen what is lost, one that hasn't, or a new one.
func TestSemaphore_GrantsNothingTwiceAfterLostWrites(t *testing.T) {
	rdb := redistest.Client(t)
	var channels []string
	for i := range 5 {
		channels = append(channels, SemaphoreChannel("loss", fmt.Sprint("s", i)))
	}
	listening := rdb.Subscribe(t.Context(), channels...)
	t.Cleanup(func() { listening.Close() })
	if _, err := listening.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	var granted int64
	for seed := range uint64(30) {
		rdb.Del(t.Context(), SemaphoreKey("loss"))
		l := &lossRun{t: t, rdb: rdb, rand: rand.New(rand.NewPCG(seed, 1)), now: semStart} //nolint:gosec // a test
		for i := range 5 {
			l.sessions = append(l.sessions, &lossSession{id: fmt.Sprint("s", i)})
		}
		for step := range 500 {
			if step > 20 && l.rand.IntN(80) == 0 {
				l.lose()
			}
			l.step()
			var sum int64
			for _, s := range l.sessions {
				sum += s.alloc
			}
			if sum > lossLimit {
				t.Fatalf("seed %d, step %d: permits allocated to the sessions: got %d, want at most %d", seed, step, sum, lossLimit)
			}
		}
		granted += l.granted
	}
	if granted < 1000 {
		t.Errorf("permits granted: got %d, want at least 1000", granted)
	}
}

// A semaphore's first start isn't a loss: the first session is granted permits at once, and so is the next.
func TestSemaphore_FirstStartIsNoLoss(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		a, b := &holder{t: t, rdb: rdb, id: "a"}, &holder{t: t, rdb: rdb, id: "b"}
		if r := a.report(semStart, 0, 2); r.Alloc != 2 {
			t.Errorf("permits of the first session: got %d, want 2", r.Alloc)
		}
		if r := b.report(semStart+1000, 0, 2); r.Alloc != 2 {
			t.Errorf("permits of the second session: got %d, want 2", r.Alloc)
		}
	})
}

// When Redis' clock is set forward by more than the TTL, a session that is new then is granted no permit of one that still
// listens: that one has time to report. The permits of a session that doesn't listen any more are free at once.
func TestSemaphore_ClockForwardGrantsNothingTwice(t *testing.T) {
	rdb := redistest.Client(t)
	const minute, ms = int64(60e6), int64(1000)
	for _, alive := range []bool{true, false} {
		rdb.Del(t.Context(), SemaphoreKey("clock"))
		a, b := &holder{t: t, rdb: rdb, id: "a"}, &holder{t: t, rdb: rdb, id: "b"}
		now := int64(semStart)
		a.report(now, 0, 4)
		listening := rdb.Subscribe(t.Context(), SemaphoreChannel("clock", "a"))
		if _, err := listening.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !alive {
			listening.Close()
			testkit.Eventually(t, "the session doesn't listen any more", func() bool {
				return len(rdb.PubSubChannels(t.Context(), SemaphoreChannel("clock", "a")).Val()) == 0
			})
		}
		now += minute
		if r := b.report(now, 0, 1); (r.Alloc == 0) != alive {
			t.Errorf("permits of a new session, with the other one alive: %v: got %d", alive, r.Alloc)
		}
		if alive {
			a.report(now+10*ms, 4, 0)
			for _, after := range []int64{100, 300, 3000} {
				if r := b.report(now+after*ms, 0, 1); r.Alloc != 0 {
					t.Errorf("%d ms after the clock was set: got %d permits, want 0", after, r.Alloc)
				}
			}
			listening.Close()
		}
	}
}
