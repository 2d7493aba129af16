package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
)

// The program starts itself again, here as the test binary with childVariable.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}
	redistest.Main(m, redistest.Programs{"accuracy": func([]string) error {
		main()
		return nil
	}})
}

// These tests check what holds on a machine of any speed: no call is lost or made twice, and the counts agree. They don't
// check how much of the quota is used.

// The steady scenario loses no call and exceeds no limit.
func TestAccuracy_SteadyLosesNoCall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	for _, f := range runs(t, 1, "-redis", "redis://"+server.Addr(), "-scenario", "steady", "-callers", "8") {
		check(t, f)
	}
}

// The faults scenario on the embedded Redis loses no call.
func TestAccuracy_FaultsLoseNoCall(t *testing.T) {
	t.Parallel()
	for _, f := range runs(t, 1, "-scenario", "faults", "-callers", "8") {
		check(t, f)
	}
}

// With -redis_rate each scenario has figures of both senders.
func TestAccuracy_RecipeHasFigures(t *testing.T) {
	t.Parallel()
	both := runs(t, 2, "-scenario", "faults", "-redis_rate", "-callers", "2")
	check(t, both[0])
	if f := both[1]; f.Run != "faults, redis_rate" || f.Calls == 0 || f.RedisCalls < 2 {
		t.Errorf("%+v", f)
	}
}

// runs runs the program with three processes for two seconds, and returns its figures.
func runs(t *testing.T, n int, args ...string) []figures {
	t.Helper()
	c := redistest.Process(t, "accuracy", append(args, "-json", "-processes", "3", "-duration", "2s")...)
	if err := c.Wait(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	all := make([]figures, n)
	for i := range all {
		line := c.Line()
		t.Log(line)
		if err := json.Unmarshal([]byte(line), &all[i]); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "sk-accuracy") {
			t.Error("a secret is shown")
		}
	}
	return all
}

func check(t *testing.T, f figures) {
	t.Helper()
	if f.Calls == 0 || f.Lost != 0 || f.Doubled != 0 {
		t.Errorf("%d calls, %d lost, %d made twice: %s", f.Calls, f.Lost, f.Doubled, f.Error)
	}
	var admitted, waited int64
	for _, a := range f.Accounts {
		admitted += a.Admitted
		if a.Peak > a.Limit {
			t.Errorf("%s: %d requests within a window, limit %d", a.ID, a.Peak, a.Limit)
		}
	}
	for _, w := range f.Waits {
		waited += int64(w.Calls)
	}
	if admitted < f.Calls || admitted > f.Attempts || waited != f.Calls {
		t.Errorf("%d calls in %d attempts; the provider admitted %d, and %d have waited", f.Calls, f.Attempts, admitted, waited)
	}
	if f.Fairness <= 0 || f.Fairness > 1.000001 || f.Utilization <= 0 || f.RedisCalls <= 0 {
		t.Errorf("figures out of range: %+v", f)
	}
}

// Interrupted in the middle, the program ends all of its processes and reports why there are no figures.
func TestAccuracy_EndsItsProcessesOnInterrupt(t *testing.T) {
	t.Parallel()
	c := redistest.Process(t, "accuracy", "-scenario", "steady", "-processes", "2", "-callers", "4", "-duration", "1h")
	time.Sleep(time.Second) // so that the run has begun
	c.Signal(os.Interrupt)
	exit, ok := errors.AsType[*exec.ExitError](c.Wait(time.Minute))
	if !ok || exit.ExitCode() != 1 || !strings.Contains(c.Stderr(), "interrupt") {
		t.Errorf("%v\n%s", exit, c.Stderr())
	}
}

// Flags that make no sense are errors.
func TestAccuracy_RefusesBadFlags(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"-scenario":  {"-scenario", "calm"},
		"-processes": {"-processes", "0"},
		"-duration":  {"-duration", "1ms"},
	} {
		c := redistest.Process(t, "accuracy", args...)
		if err := c.Wait(time.Minute); err == nil || !strings.Contains(c.Stderr(), want) {
			t.Errorf("%v: %v, %s", args, err, c.Stderr())
		}
	}
}

// Jain's index is 1 for equal shares, and 1/n if one share is all.
func TestJain_MeasuresFairness(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		want   float64
	}{{[]float64{5, 5, 5}, 1}, {[]float64{9, 0, 0}, 1. / 3}, {[]float64{0, 0}, 0}, {[]float64{1, 2, 3}, 36. / 42}} {
		if got := jain(c.shares); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.shares, got, c.want)
		}
	}
}

// A quantile is the value of the nearest rank.
func TestQuantile_ReturnsTheNearestRank(t *testing.T) {
	values := []float64{1, 2, 3, 4}
	for q, want := range map[float64]float64{0.5: 2, 0.95: 4, 0.25: 1, 0: 1, 1: 4} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
}
