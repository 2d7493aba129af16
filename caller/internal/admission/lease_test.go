package admission

import (
	"testing"
	"time"
)

// A lease that ends in time ends its calls at once. If the process was stopped beyond the session's end, its calls have a
// tenth of the TTL to read the answers that came. Both have a new lease for the next calls.
func TestLease_LeavesTimeForAnswersAfterAStop(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	for name, test := range map[string]struct{ late, want time.Duration }{
		"in time":        {0, 0},
		"within the TTL": {ttl / 20, 0},
		"beyond the TTL": {ttl/20 + 1, ttl / 10},
		"long after it":  {time.Hour, ttl / 10},
	} {
		l := newLease(ttl, func() {})
		old := l.ctx
		l.renew(time.Now(), true)
		end, left := l.expired(l.ends.Add(test.late))
		if end == nil || left != test.want || l.ctx == old {
			t.Fatalf("%s: got an end %t, %v left and the same lease %t, want an end, %v, and a new lease", name, end != nil, left, l.ctx == old, test.want)
		}
		if end(); old.Err() == nil || l.ctx.Err() != nil {
			t.Errorf("%s: got the old lease's error %v and the new one's %v, want the old one ended alone", name, old.Err(), l.ctx.Err())
		}
		l.stop()
	}
}

// After a stop beyond the session's end, a script call may be quicker than the lease's timer. It doesn't bring the lease back.
// A call before the end does.
func TestLease_IsNotRenewedAfterTheSessionsEnd(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	for name, test := range map[string]struct {
		after time.Duration
		lost  bool
	}{"before the end": {ttl, false}, "after the end": {ttl + 1, true}} {
		l := newLease(ttl, func() {})
		begun := time.Now()
		l.renew(begun, true)
		l.renew(begun.Add(test.after), true)
		if end, _ := l.expired(begun.Add(test.after + ttl/2)); (end != nil) != test.lost {
			t.Errorf("a call %s: got the lease lost %t, want %t", name, end != nil, test.lost)
		}
		l.stop()
	}
}
