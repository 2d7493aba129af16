package admission

import (
	"testing"
	"time"
)

// Each row of the table of reasons: when the reason is due, and when it doesn't exist.
func TestAgenda_EachReasonIsDueAtItsTime(t *testing.T) {
	t.Parallel()
	const never = time.Duration(-1)
	busy := permits{limited: true, inFlight: 1}
	for name, test := range map[string]struct {
		agenda agenda
		reason reason
		want   time.Duration // from noon; never: the reason doesn't exist
	}{
		"admit/at once for a call":          {agenda{waiting: 1, waitFor: forCall}, admit, 0},
		"admit/at nextAsk for a time":       {agenda{waiting: 1, waitFor: forTime, nextAsk: noon.Add(3 * time.Second)}, admit, 3 * time.Second},
		"admit/at nextAsk for a permit":     {agenda{waiting: 1, waitFor: forPermit, nextAsk: noon.Add(time.Second)}, admit, time.Second},
		"admit/not with an empty queue":     {agenda{waitFor: forCall}, admit, never},
		"deliver/at once":                   {agenda{urgent: true, pending: true, pendingSince: noon}, deliver, 0},
		"deliver/not without an urgent one": {agenda{pending: true, pendingSince: noon}, deliver, never},
		"settle/20 ms after the oldest":     {agenda{pending: true, pendingSince: noon}, settle, 20 * time.Millisecond},
		"settle/not with an empty outbox":   {agenda{pendingSince: noon}, settle, never},
		"sample/when it is due":             {agenda{samplesDue: noon.Add(time.Second)}, sample, time.Second},
		"sample/not without samples":        {agenda{}, sample, never},
		"release/at once if others wait": {
			agenda{permits: permits{limited: true, contended: true, unreportedSince: noon}}, release, 0,
		},
		"release/after 20 ms if none wait": {agenda{permits: permits{limited: true, unreportedSince: noon}}, release, 20 * time.Millisecond},
		"release/not without a limit":      {agenda{permits: permits{contended: true, unreportedSince: noon}}, release, never},
		"release/not without a release":    {agenda{permits: busy}, release, never},
		"withdraw/20 ms after the last call": {
			agenda{permits: permits{reportedWaiting: 1, lastCallAt: noon}}, withdraw, 20 * time.Millisecond,
		},
		"withdraw/not while calls wait":     {agenda{waiting: 1, permits: permits{reportedWaiting: 1, lastCallAt: noon}}, withdraw, never},
		"withdraw/not if Redis counts none": {agenda{permits: permits{lastCallAt: noon}}, withdraw, never},
		"heartbeat/with permits": {
			agenda{ttl: 9 * time.Second, permits: permits{reportedHeld: 1, lastCallAt: noon}}, heartbeat, 3 * time.Second,
		},
		"heartbeat/with waiters": {
			agenda{ttl: 9 * time.Second, permits: permits{reportedWaiting: 1, lastCallAt: noon}}, heartbeat, 3 * time.Second,
		},
		"heartbeat/not if Redis counts nothing": {agenda{ttl: 9 * time.Second, permits: permits{lastCallAt: noon}}, heartbeat, never},
		"leave/at once":                         {agenda{draining: true}, leave, 0},
		"leave/not with a call in flight":       {agenda{draining: true, permits: busy}, leave, never},
		"leave/not before Close":                {agenda{}, leave, never},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, ok := test.agenda.due(test.reason)
			if ok != (test.want != never) {
				t.Fatalf("got a reason: %v, want %v", ok, !ok)
			}
			if want := noon.Add(test.want); ok && test.want > 0 && !at.Equal(want) {
				t.Errorf("got due at %v, want %v", at, want)
			}
			if ok && test.want == 0 && at.After(noon) {
				t.Errorf("got due at %v, want at once", at)
			}
		})
	}
}

// The loop goes into a state by the earliest reason and the backoff.
func TestAgenda_NextStateOfTheLoop(t *testing.T) {
	t.Parallel()
	held := permits{limited: true, reportedHeld: 1, lastCallAt: noon}
	for name, test := range map[string]struct {
		agenda agenda
		want   state
		until  time.Duration // from noon, for scheduled
	}{
		"idle without a reason":           {agenda{}, idle, 0},
		"scheduled to the only reason":    {agenda{pending: true, pendingSince: noon}, scheduled, 20 * time.Millisecond},
		"scheduled to the earliest":       {agenda{ttl: 3 * time.Second, permits: held, samplesDue: noon.Add(time.Minute)}, scheduled, time.Second},
		"lingering with a reason due":     {agenda{waiting: 1}, lingering, 0},
		"lingering with a reason overdue": {agenda{samplesDue: noon.Add(-time.Hour)}, lingering, 0},
		"scheduled to the end of a backoff": {
			agenda{waiting: 1, retryAt: noon.Add(time.Second)}, scheduled, time.Second,
		},
		"scheduled after the backoff": {
			agenda{waiting: 1, waitFor: forTime, nextAsk: noon.Add(time.Minute), retryAt: noon.Add(time.Second)}, scheduled, time.Minute,
		},
		"idle in a backoff without a reason": {agenda{retryAt: noon.Add(time.Second)}, idle, 0},
		"stopped after Close":                {agenda{draining: true}, stopped, 0},
		"idle after Close with a call in flight": {
			agenda{draining: true, permits: permits{limited: true, inFlight: 1}}, idle, 0,
		},
		"lingering after Close with permits to return": {agenda{draining: true, ttl: time.Hour, permits: held}, lingering, 0},
		"lingering after Close with reports":           {agenda{draining: true, pending: true, pendingSince: noon}, lingering, 0},
		"stopped after three failed attempts": {
			agenda{draining: true, ttl: time.Hour, permits: held, closeAttempts: 3, retryAt: noon.Add(time.Second)}, stopped, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, until := test.agenda.next(noon)
			if got != test.want || got == scheduled && !until.Equal(noon.Add(test.until)) {
				t.Errorf("got state %d until %v, want %d until %v", got, until, test.want, noon.Add(test.until))
			}
		})
	}
}

// Each row of the table "after a reply, the first that holds".
func TestPlanNextAsk_FirstRowThatHolds(t *testing.T) {
	t.Parallel()
	const poll, least = 250 * time.Millisecond, 12 * time.Millisecond
	minute := replied{waiting: 1, wake: time.Minute}
	change := func(r replied, f func(*replied)) replied {
		f(&r)
		return r
	}
	for name, test := range map[string]struct {
		replied replied
		want    waitFor
		in      time.Duration
	}{
		"all are admitted":          {change(minute, func(r *replied) { r.waiting = 0 }), forCall, 0},
		"all are admitted, permits": {replied{permitHelps: true, untimed: true}, forCall, 0},
		"the rest can't be served":  {change(minute, func(r *replied) { r.onlyUnservable = true }), forCall, 0},
		"a waiter joined that can't wait": {
			change(minute, func(r *replied) { r.askAgain, r.arrivedMeanwhile, r.wake = true, true, time.Millisecond }), forCall, 0,
		},
		"a waiter joined, over 1 s":    {change(minute, func(r *replied) { r.arrivedMeanwhile = true }), forCall, 0},
		"a waiter joined, 1 s":         {change(minute, func(r *replied) { r.arrivedMeanwhile, r.wake = true, time.Second }), forTime, time.Second},
		"a permit released that helps": {change(minute, func(r *replied) { r.releasedMeanwhile, r.permitHelps = true, true }), forCall, 0},
		"a permit released, no help":   {change(minute, func(r *replied) { r.releasedMeanwhile = true }), forTime, time.Minute},
		"no time, a permit may help":   {replied{waiting: 1, untimed: true, permitHelps: true}, forPermit, poll},
		"no time, no permit":           {replied{waiting: 1, untimed: true}, forTime, poll},
		"a time, a permit may help":    {change(minute, func(r *replied) { r.permitHelps = true }), forPermit, poll},
		"a time before the poll":       {replied{waiting: 1, wake: 100 * time.Millisecond, permitHelps: true}, forPermit, 100 * time.Millisecond},
		"a short time, a permit":       {replied{waiting: 1, wake: time.Millisecond, permitHelps: true}, forPermit, least},
		"a time":                       {minute, forTime, time.Minute},
		"a short time":                 {replied{waiting: 1, wake: time.Millisecond}, forTime, least},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := test.replied
			r.poll, r.least = poll, least
			got, at := planNextAsk(noon, &r)
			if got != test.want || got != forCall && !at.Equal(noon.Add(test.in)) {
				t.Errorf("got %d at %v, want %d at %v", got, at, test.want, noon.Add(test.in))
			}
		})
	}
}
