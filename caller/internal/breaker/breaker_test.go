package breaker

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

const openFor = 5 * time.Second

var name = Name{"k", "e"}

// opened returns a Breaker whose circuit has just opened by its third failure in a row.
func opened(t *testing.T) *Breaker {
	t.Helper()
	b := New(Config{FailureThreshold: 3, OpenFor: openFor})
	for _, r := range []Result{Failure, Failure, Success, Failure, Failure, Unknown} {
		if !b.Start(name) || b.End(name, r) {
			t.Fatalf("got an open circuit by the result %d, want it closed before three failures in a row", r)
		}
	}
	if b.Quiet() {
		t.Fatal("got Quiet after a failure, want not")
	}
	if !b.Start(name) || !b.End(name, Failure) {
		t.Fatal("got a closed circuit after three failures in a row, want it open")
	}
	return b
}

// startOne starts a trial, and fails the test if another run may start beside it.
func startOne(t *testing.T, b *Breaker, when string) {
	t.Helper()
	if !b.Start(name) {
		t.Fatalf("%s: got no trial, want one", when)
	}
	if b.Start(name) {
		t.Fatalf("%s: got two trials, want one", when)
	}
}

// An open circuit starts no run for OpenFor, and says for how long. Circuits of other names stay closed.
func TestBreaker_OpensAfterFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		if b.Start(name) || b.Remaining(name) != openFor {
			t.Errorf("got %v until the trial, want %v", b.Remaining(name), openFor)
		}
		if other := (Name{"k", "other"}); !b.Start(other) || b.Remaining(other) != 0 {
			t.Error("got an open circuit for another name, want it closed")
		}
		time.Sleep(openFor)
		startOne(t, b, "after OpenFor")
	})
}

// Each result of a trial, and a trial without an end, leads to the state that the table in the package comment names.
func TestBreaker_ChangesStateByItsTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(openFor)
		startOne(t, b, "after OpenFor")
		b.End(name, Unknown)
		startOne(t, b, "after a trial without a result")
		if !b.End(name, Failure) || b.Start(name) || b.Remaining(name) != openFor {
			t.Fatal("got a run after a failed trial, want the circuit open")
		}
		time.Sleep(openFor)
		startOne(t, b, "after OpenFor")
		time.Sleep(openFor)
		startOne(t, b, "after a trial that doesn't end")
		b.End(name, Success)
		for range 2 {
			if !b.Start(name) || !b.Quiet() {
				t.Fatal("got an open circuit after a successful trial, want it closed")
			}
		}
	})
}

// A late result of a run that started while the circuit was closed doesn't keep an open circuit open for longer.
func TestBreaker_IgnoresLateFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := opened(t)
		time.Sleep(openFor / 2)
		if b.End(name, Failure) || b.Remaining(name) != openFor/2 {
			t.Errorf("got %v until the trial, want %v", b.Remaining(name), openFor/2)
		}
	})
}

// A circuit of a name that isn't used any more is dropped some time after its last failure.
func TestBreaker_DropsOldCircuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{FailureThreshold: 2, OpenFor: time.Second})
		for i := range 3000 {
			b.End(Name{"k", strconv.Itoa(i)}, Failure)
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(b.failed); n > 1200 { // of 10 s, and what failed since the last sweep
			t.Errorf("got %d circuits after 3000 names failed within 30 s, want those of the last 11 s", n)
		}
	})
}
