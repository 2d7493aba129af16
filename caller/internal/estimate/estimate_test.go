package estimate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
)

// A learned ratio follows the real one as it drifts and jumps within the bounds, in spite of noise and outliers. It never
// leaves the bounds.
func TestRatios_FollowADriftingRatio(t *testing.T) {
	t.Parallel()
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s Ratios
		at := 0.3 + r.Float64()*3.4
		for step := range 3000 {
			if step%600 == 0 { // a new kind of text, or another model behind the same name
				at = 0.3 + r.Float64()*3.4
			}
			at = min(max(at*(1+0.002*(r.Float64()-0.5)), 0.3), 3.7)
			estimated := int64(20 + r.ExpFloat64()*500)
			actual := float64(estimated) * at * (0.8 + 0.4*r.Float64())
			switch r.IntN(50) {
			case 0:
				estimated *= 10_000 // a file
			case 1:
				actual *= 10_000
			}
			s.Add("m", estimated, int64(actual)+1)
			got := s.Of("m")
			if got < MinRatio || got > MaxRatio || math.IsNaN(got) {
				t.Fatalf("seed %d, step %d: got %v, want %v to %v", seed, step, got, MinRatio, MaxRatio)
			}
			if step%600 == 599 && math.Abs(got/at-1) > 0.3 {
				t.Errorf("seed %d, step %d: got %.3f, want %.3f", seed, step, got, at)
			}
		}
	}
}

// Whatever the samples are, the ratio is a number within the bounds.
func FuzzRatios(f *testing.F) {
	f.Add(int64(1), int64(1), int64(math.MaxInt64), int64(0))
	f.Add(int64(math.MaxInt64), int64(1), int64(1), int64(math.MaxInt64))
	f.Add(int64(-1), int64(5), int64(0), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, estimated, actual, estimated2, actual2 int64) {
		var s Ratios
		for range 2 * MinSamples {
			s.Add("m", estimated, actual)
			s.Add("m", estimated2, actual2)
			if got := s.Of("m"); !(got >= MinRatio && got <= MaxRatio) {
				t.Fatalf("got %v, want %v to %v", got, MinRatio, MaxRatio)
			}
		}
	})
}

// A ratio is used from MinSamples samples on, and for its own model only.
func TestRatios_NeedMinSamples(t *testing.T) {
	t.Parallel()
	var s Ratios
	for n := range MinSamples {
		if got := s.Of("m"); got != 1 || len(s.All()) != 0 {
			t.Fatalf("after %d samples: got %v, %v, want 1 and no ratios", n, got, s.All())
		}
		s.Add("m", 100, 200)
	}
	got := s.Of("m")
	if math.Abs(got-2) > 1e-9 || s.Of("other") != 1 || !reflect.DeepEqual(s.All(), map[string]float64{"m": got}) {
		t.Errorf("got %v, %v of another model, %v in all, want 2, 1, and the first alone", got, s.Of("other"), s.All())
	}
}

// Goroutines that add and read at the same time get right ratios of known and of new models (with -race: without a data
// race).
func TestRatios_AreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var s Ratios
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				model := fmt.Sprint("m", (i*(g+1))%300)
				s.Add(model, 100, 150)
				if got := s.Of(model); got != 1 && math.Abs(got-1.5) > 1e-9 {
					t.Errorf("got %v, want 1 or 1.5", got)
					return
				}
				s.All()
			}
		})
	}
	wg.Wait()
}
