package admission

import (
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// version is the version of some state in Redis.
var version = scripts.StateVersion{Generation: 1, Version: 2}

// restored returns what a recovery restores, by block or counter.
func restored(r *recovery, all bool, now time.Time) map[string]report {
	byName := map[string]report{}
	for _, its := range r.restore(all, now) {
		byName[its.Block+its.counter] = its
	}
	return byName
}

// A state is expected only for as long as there is something to restore.
func TestRecovery_ExpectsAVersionWhileThereIsSomethingToRestore(t *testing.T) {
	t.Parallel()
	r := recovery{version: version}
	if got := r.expectedVersion(noon); got != (scripts.StateVersion{}) {
		t.Errorf("with nothing to restore: got %v, want none", got)
	}
	r.recordReports([]report{cooldown("k", noon.Add(time.Minute))})
	if got := r.expectedVersion(noon.Add(59 * time.Second)); got != version {
		t.Errorf("during a cooldown: got %v, want %v", got, version)
	}
	if got := r.expectedVersion(noon.Add(time.Minute)); got != (scripts.StateVersion{}) {
		t.Errorf("after the cooldown: got %v, want none", got)
	}
}

// Blocks that this process reported are restored until they end or are cleared. A longer or stronger one wins.
func TestRecovery_RestoresBlocks(t *testing.T) {
	t.Parallel()
	r := recovery{version: version}
	off := Block{Key: "k", Disabled: true, For: time.Minute}
	r.recordReports([]report{
		cooldown("a", noon.Add(time.Minute)), cooldown("a", noon.Add(time.Second)),
		off.report("", noon), (&Block{Key: "k", For: time.Hour}).report("", noon),
		cooldown("b", noon.Add(time.Minute)), cooldown("c", noon.Add(time.Second)),
	})
	r.recordReports([]report{unblockReport("b", "")})
	got := restored(&r, false, noon.Add(time.Second))
	if len(got) != 2 || !got["a:a"].until.Equal(noon.Add(time.Minute)) || got["k:k"].Kind != scripts.DisableBlock {
		t.Errorf("got %+v, want account a for a minute and key k disabled", got)
	}
	if r.version != (scripts.StateVersion{}) {
		t.Errorf("got version %v after a loss, want none", r.version)
	}
}

// The bookings of this process are restored as the theoretical arrival time that they alone lead to.
func TestRecovery_RestoresBookings(t *testing.T) {
	t.Parallel()
	limits := []Limit{bucket(60, time.Minute, 10)} // one a second
	topo := topologyOf(limits...)
	var r recovery
	for range 2 {
		r.recordGrants(limits, &topo.targets[0], noon.Add(time.Second), 2, []int64{3})
	}
	r.recordGrants(limits, &topo.targets[0], noon, 1, []int64{0})
	got := restored(&r, false, noon)
	if its := got["k:bucket"]; len(got) != 1 || its.Kind != scripts.BookCounter || !its.until.Equal(noon.Add(13*time.Second)) {
		t.Errorf("got %+v, want the counter booked for 13 s", got)
	}
	if got := restored(&r, false, noon.Add(13*time.Second)); len(got) != 0 {
		t.Errorf("after 13 s: got %+v, want nothing", got)
	}
}

// The use of a daily count is restored with its settlements until the reset. It is added if Redis has lost all, and is a
// least use otherwise, because what other processes used may still be there.
func TestRecovery_RestoresDailyUse(t *testing.T) {
	t.Parallel()
	limits := []Limit{daily(100, 0)}
	topo := topologyOf(limits...)
	var r recovery
	r.recordGrants(limits, &topo.targets[0], noon.Add(-24*time.Hour), 1, []int64{50}) // of the day before
	r.recordGrants(limits, &topo.targets[0], noon, 2, []int64{10})
	r.recordSettlement("k:daily", -5)
	r.recordSettlement("other", -5)
	for all, want := range map[bool]scripts.ReportKind{true: scripts.SettleCounter, false: scripts.UsedCounter} {
		if got := restored(&r, all, noon); len(got) != 1 || got["k:daily"].Kind != want || got["k:daily"].Units != 15 {
			t.Errorf("all lost: %v: got %+v, want 15 units by kind %d", all, got, want)
		}
	}
	if got := restored(&r, true, noon.Add(12*time.Hour)); len(got) != 0 {
		t.Errorf("after the reset: got %+v, want nothing", got)
	}
}
