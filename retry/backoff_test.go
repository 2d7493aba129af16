package retry

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawPolicy(t *rapid.T) Policy {
	p := Policy{
		Base:       time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "base")),
		Multiplier: rapid.OneOf(rapid.Just(0.), rapid.Float64Range(1, math.MaxFloat64)).Draw(t, "multiplier"),
		Jitter:     Jitter(rapid.IntRange(int(FullJitter), int(NoJitter)).Draw(t, "jitter")),
	}
	if rapid.Bool().Draw(t, "with max") {
		p.Max = time.Duration(rapid.Int64Range(int64(p.withDefaults().Base), math.MaxInt64).Draw(t, "max"))
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return p
}

// Every wait is within its bounds, at least the floor, and not negative.
func TestBackoff_StaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		full := p.withDefaults()
		n := rapid.Int().Draw(t, "n")
		prev := time.Duration(rapid.Int64Range(0, int64(full.Max)).Draw(t, "prev"))
		u := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "u")
		floor := time.Duration(rapid.Int64().Draw(t, "floor"))

		least := time.Duration(0)
		switch p.Jitter {
		case DecorrelatedJitter:
			least = full.Base
		case NoJitter:
			least = ceiling(full, n)
		}
		got := Backoff(p, n, prev, u)
		if got < least || got > full.Max {
			t.Errorf("the backoff: got %v, want from %v to %v", got, least, full.Max)
		}
		wait, drawn := pause(full, n, prev, floor, u)
		if drawn != got || wait < drawn || wait < floor {
			t.Errorf("got wait %v and backoff %v, want backoff %v and a wait of at least that and %v", wait, drawn, got, floor)
		}
		if floor > 0 && floor < math.MaxInt64/2 && full.Max < math.MaxInt64/2 && wait > floor+full.Max {
			t.Errorf("the wait: got %v, want at most %v", wait, floor+full.Max)
		}
	})
}

// Backoff computes the documented formulas.
func TestBackoff_FollowsItsFormula(t *testing.T) {
	p := Policy{Base: time.Second, Max: 10 * time.Second, Multiplier: 3}
	for n, want := range []time.Duration{0.5e9, 0.5e9, 1.5e9, 4.5e9, 5e9, 5e9} {
		if got := Backoff(p, n, 0, 0.5); got != want {
			t.Errorf("full jitter, failure %d: got %v, want %v", n, got, want)
		}
	}
	p.Jitter = DecorrelatedJitter
	prev := time.Duration(0)
	for n, want := range []time.Duration{2e9, 3.5e9, 5.75e9, 9.125e9, 10e9, 10e9} {
		if prev = Backoff(p, n, prev, 0.5); prev != want {
			t.Errorf("decorrelated jitter, failure %d: got %v, want %v", n, prev, want)
		}
	}
}

// The zero Policy has the documented defaults.
func TestPolicy_HasTheDocumentedDefaults(t *testing.T) {
	p := Policy{}.withDefaults()
	if p.Attempts != 5 || p.Base != 250*time.Millisecond || p.Max != 30*time.Second || p.Multiplier != 2 || p.MaxElapsed != 0 {
		t.Errorf("got defaults %+v, want the documented ones", p)
	}
	if p := (Policy{Base: time.Minute}).withDefaults(); p.Max != time.Minute {
		t.Errorf("Max with a Base of 1m: got %v, want 1m", p.Max)
	}
}
