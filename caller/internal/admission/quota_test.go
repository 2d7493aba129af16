package admission

import (
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A limit of which less is left than half of what the pool leaves unused is slowed down, because another client uses it.
func TestUsedByOthers_SlowsDownBelowHalfOfTheUnused(t *testing.T) {
	t.Parallel()
	l := bucket(1000, time.Minute, 1)
	l.Usable = 800 // a fifth is reserved
	for remaining, want := range map[int64]bool{1000: false, 150: false, 50: true, 0: true} {
		r, got := usedByOthers(&l, &Quota{Limit: 1000, Remaining: remaining}, 100*time.Millisecond)
		if got != want || got && r.Kind != scripts.SlowCounter {
			t.Errorf("%d of 1,000 left, of which 200 should be: got %+v, %v, want %v", remaining, r, got, want)
		}
	}
}
