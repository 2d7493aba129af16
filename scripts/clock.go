package scripts

import (
	"sync"
	"time"
)

// drift is the greatest rate at which the two clocks diverge: twice the slew rate of NTP.
const drift = 1e-3

// Clock maps Redis' time to this process's monotonic clock. Every reply that carries Redis' time bounds the
// difference from both sides: Redis read its clock after the call was sent and before the reply came. Clock keeps
// the tightest bounds, widens them as the clocks may drift, and starts anew when a reply contradicts them, which is
// how a step of Redis' clock shows.
//
// The zero Clock is ready for use, and safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	base   time.Time     // local times are durations since base
	at     time.Duration // when lo and hi were last brought up to date
	lo, hi time.Duration // bounds of server time minus local time
	known  bool
}

// Observe takes in one reply: Redis read server, in microseconds since 2017, between the local times sent and
// received.
func (c *Clock) Observe(sent, received time.Time, server int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		c.base = sent
	}
	s := time.Duration(server) * time.Microsecond
	from, to := sent.Sub(c.base), received.Sub(c.base)
	lo, hi := s-to, s-from+time.Microsecond // TIME cuts to microseconds
	if c.known {
		widen := time.Duration(float64(max(to-c.at, 0)) * drift)
		lo, hi = max(lo, c.lo-widen), min(hi, c.hi+widen)
		if lo > hi {
			lo, hi = s-to, s-from+time.Microsecond
		}
	}
	c.lo, c.hi, c.at, c.known = lo, hi, to, true
}

// Forget drops the bounds. It is for a deadline that proved wrong, because Redis' clock was set
// forward or because every reply so far was long under way. No reply would put that right if each call is too late.
func (c *Clock) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = false
}

// Local returns the latest local time that the server time, in microseconds since 2017, can be: an action that waits
// for it is never early. It is false before the first Observe.
func (c *Clock) Local(server int64) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return time.Time{}, false
	}
	return c.base.Add(time.Duration(server)*time.Microsecond - c.lo), true
}

// Server returns the earliest server time, in microseconds since 2017, that the local time can be: a deadline
// converted by it is never late. It is false before the first Observe.
func (c *Clock) Server(local time.Time) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		return 0, false
	}
	return int64((local.Sub(c.base) + c.lo) / time.Microsecond), true
}

// epoch is where the scripts' time begins, in Unix microseconds: 2017-01-01T00:00:00Z, as in redis_rate.
const epoch = 1483228800 * 1_000_000

// Micros is a time on the wire: microseconds since 2017.
func Micros(t time.Time) int64 { return t.UnixMicro() - epoch }
