package admission

import (
	"testing"
	"time"

	"github.com/penstock/penstock/scripts"
)

// A process restores the orders that it has read, drops those that were taken back, and drops none if Redis has lost writes.
func TestRecovery_LearnsOrders(t *testing.T) {
	const long = 10 * leastOrder
	seen := scripts.StateVersion{Origin: 1, Generation: 1, Version: 5, Seq: 7}
	var r recovery
	off := map[string]scripts.BlockState{
		"k:a": {Until: long, Off: true, Reason: "leaked"}, "k:b": {Until: time.Hour, Off: true}, "a:c": {Until: long},
	}
	r.learn(&scripts.PoolBlocks{Origin: 1, Generation: 1, Seq: 7, Blocks: off}, seen, nil, noon)
	if got := r.restore(true, noon); len(got) != 1 || got[0].Block != "k:a" || got[0].Reason != "leaked" {
		t.Fatalf("got %+v, want the operator's order alone", got)
	}
	for name, lost := range map[string]scripts.PoolBlocks{
		"all": {}, "another state": {Origin: 2, Generation: 2, Seq: 9}, "a generation": {Origin: 1, Generation: 2, Seq: 9},
		"the latest writes": {Origin: 1, Generation: 1, Seq: 6},
	} {
		r.learn(&lost, seen, r.orders(noon), noon)
		if len(r.orders(noon)) != 1 {
			t.Errorf("%s is lost: got no order, want it kept", name)
		}
	}
	known := r.orders(noon)
	r.learn(&scripts.PoolBlocks{Origin: 1, Generation: 1, Seq: 8}, seen, known, noon)
	if len(r.orders(noon)) != 0 {
		t.Error("taken back: got the order, want none")
	}
}
