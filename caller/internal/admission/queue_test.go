package admission

import (
	"slices"
	"testing"
	"time"
)

// waiterOf returns a waiter of a priority that came some time after noon.
func waiterOf(priority int, after time.Duration, units ...int64) *waiter {
	r := Request{Priority: priority, Units: units}
	return &waiter{Request: r, since: noon.Add(after), ready: make(chan struct{}, 1)}
}

// queueOf returns a queue of waiters.
func queueOf(waiters ...*waiter) *queue {
	q := &queue{aging: time.Minute, lanes: make([]lane, 1)}
	for _, w := range waiters {
		q.add(w)
	}
	return q
}

// A waiter leaves from anywhere in the queue, once, and the others keep their order.
func TestQueue_RemoveKeepsTheOrder(t *testing.T) {
	t.Parallel()
	for _, gone := range []int{0, 1, 2} {
		ws := []*waiter{waiterOf(normal, 0), waiterOf(normal, 0), waiterOf(normal, 0)}
		q := queueOf(ws...)
		q.remove(ws[gone])
		q.remove(ws[gone])
		want := slices.Delete(slices.Clone(ws), gone, gone+1)
		if got := q.all(); q.len() != 2 || !slices.Equal(got, want) {
			t.Errorf("without waiter %d: got %d waiters in another order", gone, len(got))
		}
	}
}

// A waiter is served first if none of its model group has its priority or a higher one.
func TestQueue_ServedFirstByGroupAndPriority(t *testing.T) {
	t.Parallel()
	q := queueOf(waiterOf(normal, 0))
	for _, test := range []struct {
		priority, group int
		want            bool
	}{{high, 0, true}, {normal, 0, false}, {low, 0, false}, {low, 1, true}} {
		w := waiterOf(test.priority, 0)
		w.group = test.group
		if got := q.servedFirst(w); got != test.want {
			t.Errorf("priority %d of group %d: got %v, want %v", test.priority, test.group, got, test.want)
		}
	}
}

// A waiter is answered once and woken. It is reusable if no script call refers to it.
func TestQueue_AnswerMakesReusableUnlessInCall(t *testing.T) {
	t.Parallel()
	for _, inCall := range []bool{false, true} {
		w := waiterOf(normal, 0)
		q := queueOf(w)
		w.inCall = inCall
		q.refuse(w, ErrClosed)
		if len(w.ready) != 1 || w.err != ErrClosed || w.reusable == inCall || q.len() != 0 {
			t.Errorf("in a call: %v: got %+v, want it woken with the error, reusable: %v", inCall, w, !inCall)
		}
	}
}

// Waiters whose deadline is no later than a time are expiring; those without a deadline never are.
func TestQueue_ExpiringByDeadline(t *testing.T) {
	t.Parallel()
	patient, early, late := waiterOf(low, 0), waiterOf(normal, 0), waiterOf(high, 0)
	early.deadline, late.deadline = noon.Add(time.Second), noon.Add(time.Minute)
	q := queueOf(patient, early, late)
	if got := q.expiringBy(noon.Add(time.Second)); !slices.Equal(got, []*waiter{early}) {
		t.Errorf("after a second: got %d waiters, want the one", len(got))
	}
	if got := q.expiringBy(noon.Add(time.Hour)); !slices.Equal(got, []*waiter{early, late}) {
		t.Errorf("after an hour: got %d waiters, want two", len(got))
	}
}

// A waiter can't be admitted before another of no lower priority that came no later and costs no more.
func TestWaiter_NotServedBefore(t *testing.T) {
	t.Parallel()
	first := waiterOf(normal, time.Second, 5, 5)
	for name, test := range map[string]struct {
		w    *waiter
		want bool
	}{
		"the same":        {waiterOf(normal, time.Second, 5, 5), true},
		"later and more":  {waiterOf(low, time.Minute, 5, 6), true},
		"higher priority": {waiterOf(high, time.Minute, 5, 5), false},
		"earlier":         {waiterOf(normal, 0, 5, 5), false},
		"less of one":     {waiterOf(normal, time.Minute, 4, 9), false},
	} {
		if got := test.w.notServedBefore(first); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// A booking that nothing was sent with goes to the first waiter of the highest priority that it fits.
func TestQueue_NextEligibleFitsTheBooking(t *testing.T) {
	t.Parallel()
	topo := topologyOf(few(5))
	b := &booking{target: &topo.targets[0], key: "k", sendAt: noon.Add(time.Second), units: []int64{5}}
	groups := []modelGroup{{}, {name: "other"}}
	change := func(f func(*waiter)) *waiter {
		w := waiterOf(high, 0, 5)
		f(w)
		return w
	}
	for name, test := range map[string]struct {
		first *waiter
		want  bool
	}{
		"fits":                {change(func(*waiter) {}), true},
		"costs less":          {change(func(w *waiter) { w.Units = []int64{0} }), true},
		"costs more":          {change(func(w *waiter) { w.Units = []int64{6} }), false},
		"other model group":   {change(func(w *waiter) { w.group = 1 }), false},
		"has an affinity":     {change(func(w *waiter) { w.Affinity = "a" }), false},
		"excludes it":         {change(func(w *waiter) { w.Exclude = []string{"k"} }), false},
		"expires before it":   {change(func(w *waiter) { w.deadline = noon.Add(time.Second) }), false},
		"can wait until then": {change(func(w *waiter) { w.deadline = noon.Add(time.Minute) }), true},
	} {
		second := waiterOf(low, 0, 1)
		want := second
		if test.want {
			want = test.first
		}
		if got := queueOf(second, test.first).nextEligible(b, groups); got != want {
			t.Errorf("%s: got priority %d, want %d", name, got.Priority, want.Priority)
		}
	}
	if got := queueOf().nextEligible(b, groups); got != nil {
		t.Errorf("an empty queue: got %+v, want none", got)
	}
}
