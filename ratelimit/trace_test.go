package ratelimit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// admitted is one entry of a trace: units of a limit, and their time by Redis' clock in seconds.
type admitted struct {
	at    float64
	units float64
}

// excess returns by how many units a trace exceeds burst + rate·T in its worst window, 0 if in none.
func excess(trace []admitted, interval float64, burst int) float64 {
	slices.SortFunc(trace, func(a, b admitted) int { return compareFloats(a.at, b.at) })
	var level, last, worst float64
	for _, a := range trace {
		level = max(level-(a.at-last)/interval, 0) + a.units
		last = a.at
		worst = max(worst, level-float64(burst))
	}
	return worst
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestExcess_FindsWorstWindow checks the checker of the trace test.
func TestExcess_FindsWorstWindow(t *testing.T) {
	trace := []admitted{{3, 1}, {0, 2}, {1.5, 2}}
	if e := excess(trace, 1, 2); e < 0.49 || e > 0.51 {
		t.Errorf("excess %v, want 0.5", e)
	}
}

// traceLimits are the limits that the processes of the trace test share.
var traceLimits = []ratelimit.Limit{
	{Rate: 2000, Burst: 10, Period: time.Second},
	{Rate: 30000, Burst: 1000, Period: time.Second},
	ratelimit.Window(1500, time.Second, 4, 10*time.Millisecond),
}

func traceKey(i int) string { return fmt.Sprintf("{t}%d", i) }

// tracer makes random calls, cancels and settles, from many goroutines, and prints "limit time units" for each charge
// that was used: the smaller one of what it was charged and what it settled for. Before that it prints what it does with
// the reservation: "cancel", "settle" or "use".
func tracer(args []string) error {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: args[0]})
	defer rdb.Close()
	l, err := ratelimit.New(rdb, ratelimit.Config{MaxWait: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		out  = bufio.NewWriter(os.Stdout)
		fail error
	)
	end := time.Now().Add(1500 * time.Millisecond)
	for i := range uint64(24) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, i))
			for time.Now().Before(end) {
				line, err := traceStep(l, rnd)
				mu.Lock()
				if err != nil {
					fail = err
				}
				_, _ = out.WriteString(line)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	_, _ = out.WriteString("done\n")
	return errors.Join(fail, out.Flush())
}

func traceStep(l *ratelimit.Limiter, rnd *rand.Rand) (string, error) {
	var charges []ratelimit.Charge
	var limits []int
	for _, i := range rnd.Perm(3)[:1+rnd.IntN(3)] {
		limit := traceLimits[i]
		limits = append(limits, i)
		charges = append(charges, ratelimit.Charge{Key: traceKey(i), Limit: limit, Cost: 1 + rnd.IntN(min(limit.Burst, 50))})
	}
	r, err := l.Reserve(context.Background(), charges...)
	if errors.Is(err, ratelimit.ErrMaxWait) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if rnd.IntN(4) > 0 {
		time.Sleep(time.Duration(rnd.Int64N(int64(r.Delay()) + 1)))
	}
	var line strings.Builder
	actual := make([]int, len(charges))
	switch rnd.IntN(4) {
	case 0:
		r.Cancel()
		return "cancel\n", nil
	case 1:
		line.WriteString("settle\n")
		for j, c := range charges {
			actual[j] = rnd.IntN(2 * c.Cost)
		}
		if err := r.Settle(actual...); err != nil {
			return "", err
		}
	default:
		line.WriteString("use\n")
		for j, c := range charges {
			actual[j] = c.Cost
		}
	}
	for j, c := range charges {
		fmt.Fprintf(&line, "%d %.9f %d\n", limits[j], r.Slot(), min(c.Cost, actual[j]))
	}
	return line.String(), nil
}

// traceProcesses is the number of processes that share the limits.
const traceProcesses = 8

// TestTrace_NeverExceedsLimit makes random calls on three limits from several processes. In every window of length t, at most
// burst + rate·t units are admitted. excess follows the level of a bucket, which covers every window that ends at a
// charge.
func TestTrace_NeverExceedsLimit(t *testing.T) {
	server := redistest.Start(t)
	var children []*redistest.Child
	for i := range traceProcesses {
		children = append(children, redistest.Process(t, "tracer", server.Socket(), strconv.Itoa(i)))
	}
	traces := make([][]admitted, len(traceLimits))
	done := map[string]int{}
	for _, c := range children {
		for line := c.Line(); line != "done"; line = c.Line() {
			if !strings.Contains(line, " ") {
				done[line]++
				continue
			}
			var limit int
			var a admitted
			if _, err := fmt.Sscan(line, &limit, &a.at, &a.units); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			traces[limit] = append(traces[limit], a)
		}
	}
	t.Logf("reservations: %v", done)
	for _, what := range []string{"cancel", "settle", "use"} {
		if done[what] < 50 {
			t.Errorf("only %d times %s", done[what], what)
		}
	}
	for i, trace := range traces {
		limit := traceLimits[i]
		interval := limit.Period.Seconds() / float64(limit.Rate)
		if len(trace) < 100 {
			t.Errorf("only %d charges on %v", len(trace), limit)
		}
		// A thousandth of a unit for rounding: a time is known to a tenth of a microsecond.
		if e := excess(trace, interval, limit.Burst); e > 0.001+1e-6/interval {
			t.Errorf("%v is exceeded by %v units", limit, e)
		}
		t.Logf("%v: %d charges", limit, len(trace))
	}
}
