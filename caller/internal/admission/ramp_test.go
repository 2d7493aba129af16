package admission

import (
	"testing"
	"time"
)

// A script call carries the report while the ramp may go on, and when Redis may have dropped the pool's state.
func TestRamp_IsReportedWhileItLasts(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_900_000_000, 0)
	local := func(at int64) (time.Time, bool) { return start.Add(time.Duration(at) * time.Microsecond), true }
	r := ramp{over: time.Minute}
	for _, test := range []struct {
		what  string
		at    time.Duration
		reply bool
		want  bool
	}{
		{"before the first reply", 0, true, true},
		{"young", 59 * time.Second, true, true},
		{"over", 62 * time.Second, true, false},
		{"idle for a while", 5 * time.Minute, false, false},
		{"idle for long", 12 * time.Minute, false, true},
	} {
		now := start.Add(test.at)
		got, ok := r.report(now)
		if ok != test.want || ok && got.For != time.Minute {
			t.Errorf("%s: got %+v, %v, want %v", test.what, got, ok, test.want)
		}
		if test.reply {
			r.replyReceived(now, 0, local)
		}
	}
	if _, ok := (&ramp{}).report(start); ok {
		t.Error("got a report without a ramp")
	}
}
