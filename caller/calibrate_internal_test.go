package caller

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
)

// However the real ratio drifts within the bounds, what is learned follows it, through noise and wild outliers; and
// whatever is learned from, it stays within the bounds.
func TestCalibrationFollowsADriftingRatio(t *testing.T) {
	t.Parallel()
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 1))
		var c calibration
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
			c.learn("m", estimated, int64(actual)+1)
			got := c.of("m")
			if got < leastRatio || got > mostRatio || math.IsNaN(got) {
				t.Fatalf("seed %d, step %d: %v is outside %v to %v", seed, step, got, leastRatio, mostRatio)
			}
			if step%600 == 599 && math.Abs(got/at-1) > 0.3 {
				t.Errorf("seed %d, step %d: learned %.3f, want %.3f", seed, step, got, at)
			}
		}
	}
}

// Nothing that an answer may say leads out of the bounds, or to something that isn't a number.
func FuzzCalibration(f *testing.F) {
	f.Add(int64(1), int64(1), int64(math.MaxInt64), int64(0))
	f.Add(int64(math.MaxInt64), int64(1), int64(1), int64(math.MaxInt64))
	f.Add(int64(-1), int64(5), int64(0), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, estimated, actual, estimated2, actual2 int64) {
		var c calibration
		for range 2 * enoughAnswers {
			c.learn("m", estimated, actual)
			c.learn("m", estimated2, actual2)
			if got := c.of("m"); !(got >= leastRatio && got <= mostRatio) {
				t.Fatalf("%v is outside %v to %v", got, leastRatio, mostRatio)
			}
		}
	})
}

func TestCalibrationTakesItsTime(t *testing.T) {
	t.Parallel()
	var c calibration
	for n := range enoughAnswers {
		if got := c.of("m"); got != 1 || len(c.read()) != 0 {
			t.Fatalf("after %d answers: %v, %v", n, got, c.read())
		}
		c.learn("m", 100, 200)
	}
	if got := c.of("m"); math.Abs(got-2) > 1e-9 || c.of("other") != 1 || !reflect.DeepEqual(c.read(), map[string]float64{"m": got}) {
		t.Errorf("learned %v, %v", got, c.read())
	}
}

// What a ratio may do to an estimate: only the prompt's part changes; down only what the provider corrects itself; what
// fits a limit still fits.
func TestWhatIsCalibrated(t *testing.T) {
	t.Parallel()
	all := []Metric{InputTokens, Tokens}
	cost := Cost{Requests: 1, InputTokens: 100, OutputTokens: 1000, Tokens: 1100}
	for name, test := range map[string]struct {
		ratio               float64
		calibrated, settled []Metric
		limits              []Limit
		cost, want          Cost
	}{
		"nothing":          {2, nil, all, nil, cost, cost},
		"up":               {2, all, nil, nil, cost, Cost{Requests: 1, InputTokens: 200, OutputTokens: 1000, Tokens: 1200}},
		"not down":         {0.5, all, nil, nil, cost, cost},
		"down":             {0.5, all, all, nil, cost, Cost{Requests: 1, InputTokens: 50, OutputTokens: 1000, Tokens: 1050}},
		"down in part":     {0.5, all, []Metric{InputTokens}, nil, cost, Cost{Requests: 1, InputTokens: 50, OutputTokens: 1000, Tokens: 1100}},
		"to the limit":     {4, all, all, []Limit{{Metric: Tokens, Rate: 1150}}, cost, Cost{Requests: 1, InputTokens: 400, OutputTokens: 1000, Tokens: 1150}},
		"beyond the limit": {2, all, all, []Limit{{Metric: Tokens, Rate: 1000}}, cost, Cost{Requests: 1, InputTokens: 200, OutputTokens: 1000, Tokens: 1200}},
		"other models' limit": {2, all, all, []Limit{{Metric: Tokens, Rate: 1150, Models: []string{"x"}}}, cost,
			Cost{Requests: 1, InputTokens: 200, OutputTokens: 1000, Tokens: 1200}},
		"no prompt": {2, all, all, nil, Cost{Tokens: 5}, Cost{Tokens: 5}},
		"hostile": {4, all, all, nil, Cost{InputTokens: math.MaxInt64, Tokens: math.MaxInt64},
			Cost{InputTokens: math.MaxInt64, Tokens: math.MaxInt64}},
	} {
		p := &settings{Config: Config{Limits: test.limits, Profile: Profile{Calibrated: test.calibrated, Settled: test.settled}}}
		for range 500 {
			p.prompts.learn("m", 1000, int64(1000*test.ratio))
		}
		before := fmt.Sprint(test.cost)
		if got := p.calibrate(&Options{Model: "m"}, test.cost); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if fmt.Sprint(test.cost) != before {
			t.Errorf("%s: the estimate given was changed to %v", name, test.cost)
		}
	}
}

// Names come from requests: only so many are remembered, and those that are in use are among them.
func TestKnownIsBounded(t *testing.T) {
	t.Parallel()
	var k known[int]
	*k.get("favourite") = 7
	for i := range 50 * maxKnown {
		if k.get(fmt.Sprint("name ", i)) == nil {
			t.Fatalf("name %d isn't remembered", i)
		}
		if v := k.find("favourite"); v == nil || *v != 7 {
			t.Fatalf("what is in use was forgotten at %d", i)
		}
		n := 0
		if k.each(func(string, *int) { n++ }); n > maxKnown {
			t.Fatalf("%d are remembered, at most %d should be", n, maxKnown)
		}
	}
	if k.get(string(make([]byte, maxName+1))) != nil {
		t.Error("a name that is too long is remembered")
	}
}

// Learning and asking from many goroutines is safe (with -race), for known models and new ones.
func TestCalibrationIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var c calibration
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				model := fmt.Sprint("m", (i*(g+1))%300)
				c.learn(model, 100, 150)
				if got := c.of(model); got != 1 && math.Abs(got-1.5) > 1e-9 {
					t.Errorf("learned %v", got)
					return
				}
				c.read()
			}
		})
	}
	wg.Wait()
}
