package ratelimit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/ratelimit"
)

// fairLimit is the limit that the processes of the fairness test share.
var fairLimit = ratelimit.Limit{Rate: 2000, Burst: 1, Period: time.Second}

const (
	fairProcesses = 8
	fairWaiters   = 64
	fairTime      = 5 * time.Second
)

// waiters books from many goroutines in a loop, and prints the time of each booking by Redis' clock.
func waiters(args []string) error {
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: args[0]})
	defer rdb.Close()
	l := ratelimit.NewLimiter(rdb)
	if _, err := l.Peek(context.Background(), "k", fairLimit); err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		slots []float64
		fail  error
	)
	end := time.Now().Add(fairTime + time.Second)
	for range fairWaiters {
		wg.Go(func() {
			for time.Now().Before(end) {
				r, err := l.Reserve(context.Background(), ratelimit.Charge{Key: "k", Limit: fairLimit, Cost: 1})
				mu.Lock()
				if err != nil {
					fail = errors.Join(fail, err)
					mu.Unlock()
					return
				}
				slots = append(slots, r.Slot())
				mu.Unlock()
				time.Sleep(r.Delay())
			}
		})
	}
	wg.Wait()
	out := bufio.NewWriter(os.Stdout)
	for _, s := range slots {
		fmt.Fprintf(out, "%.6f\n", s)
	}
	fmt.Fprintln(out, "done")
	return errors.Join(fail, out.Flush())
}

// TestWait_IsFairAcrossProcesses has 8 processes with 64 waiters each share a limit: together they use at least 99 % of it,
// and each gets at least 80 % of its share. It prints the figures:
//
//	go test -run TestWait_IsFairAcrossProcesses -v ./ratelimit
func TestWait_IsFairAcrossProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	server := redistest.Start(t)
	var children []*redistest.Child
	for range fairProcesses {
		children = append(children, redistest.Process(t, "waiters", server.Socket()))
	}
	for _, c := range children {
		c.Expect("ready")
	}
	for _, c := range children {
		c.Send("go")
	}
	var slots [fairProcesses][]float64
	from := 0.0 // the start of the last process
	for i, c := range children {
		for line := c.Line(); line != "done"; line = c.Line() {
			s, err := strconv.ParseFloat(line, 64)
			if err != nil {
				t.Fatal(err)
			}
			slots[i] = append(slots[i], s)
		}
		from = max(from, slots[i][0])
	}
	total := 0
	var used [fairProcesses]int
	for i := range slots {
		for _, s := range slots[i] {
			if s >= from && s < from+fairTime.Seconds() {
				used[i]++
				total++
			}
		}
	}
	most := fairTime.Seconds() * float64(fairLimit.Rate)
	t.Logf("%d of %.0f units used (%.2f %%), by process: %v", total, most, 100*float64(total)/most, used)
	if float64(total) < 0.99*most || float64(total) > most+1 {
		t.Errorf("%d of %.0f units used", total, most)
	}
	for i, n := range used {
		if share := float64(total) / fairProcesses; float64(n) < 0.8*share {
			t.Errorf("process %d got %d units, its share is %.0f", i, n, share)
		}
	}
}
