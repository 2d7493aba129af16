package concurrency

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestHistories runs several processes under faults and checks with porcupine that what they saw is what a semaphore
// of so many permits could have done: at any moment, leases hold no more than the limit. A lease may end by itself
// (its process killed or stopped, its session ended), at a time that nobody saw: the model may let it end at any time
// from when that was possible. An acquire that failed may have held permits for a while, and changes nothing.
func TestHistories(t *testing.T) {
	for _, fault := range []string{"none", "kill", "stop", "lost replies", "flush script", "clients killed"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			runHistory(t, fault)
		})
	}
}

const historyLimit = 3

type historyIn struct {
	op    string // acquire, release, expire
	lease string
	n     int
}

// historyModel is a semaphore: the state is the leases that are held, as "name=n" in order.
var historyModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		held, in := state.(string), input.(historyIn)
		entry := fmt.Sprintf("%s=%d;", in.lease, in.n)
		if in.op != "acquire" {
			return strings.Contains(held, entry), strings.Replace(held, entry, "", 1)
		}
		if !output.(bool) {
			return true, held
		}
		used := in.n
		for e := range strings.SplitSeq(strings.TrimSuffix(held, ";"), ";") {
			if _, n, ok := strings.Cut(e, "="); ok {
				k, _ := strconv.Atoi(n)
				used += k
			}
		}
		return used <= historyLimit, held + entry
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v %v", input, output) },
}

// history is what the processes saw.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) add(client int, in historyIn, ok bool, from, to int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: ok, Call: from, Return: to})
}

func runHistory(t *testing.T, fault string) {
	server := redistest.Start(t)
	f := redistest.NewFaults(t)
	network, addr := f.Listen(t, server)
	through := redis.NewClient(&redis.Options{Network: network, Addr: addr})
	defer through.Close()
	const processes, rounds = 3, 12
	var h history
	var wg sync.WaitGroup
	var procs []*process
	for range processes {
		procs = append(procs, startProcess(t, through, processConfig{
			Name: "test", Limit: historyLimit, TTL: time.Second, Policy: FailClosed,
		}))
	}
	for i, p := range procs {
		for c := range 2 {
			wg.Go(func() { p.record(&h, 2*i+c, rounds) })
		}
	}
	stop := make(chan struct{})
	var faults sync.WaitGroup
	faults.Go(func() { disturb(t, fault, server, f, procs[0], stop) })
	wg.Wait()
	close(stop)
	faults.Wait()
	h.check(t)
}

// disturb does what the test is about until stop.
func disturb(t *testing.T, fault string, server *redistest.Server, f *redistest.Faults, victim *process, stop chan struct{}) {
	rdb := server.Client(t)
	var seen atomic.Int64
	some := func(sent []byte) bool {
		return redistest.Contains("evalsha")(sent) && seen.Add(1)%4 == 0
	}
	if fault == "lost replies" {
		defer f.LoseReply(some).Release()
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(60 * time.Millisecond):
		}
		switch fault {
		case "kill":
			victim.signal(syscall.SIGKILL)
		case "stop":
			victim.signal(syscall.SIGSTOP)
			<-time.After(1500 * time.Millisecond)
			victim.signal(syscall.SIGCONT)
			<-time.After(300 * time.Millisecond)
		case "flush script":
			rdb.ScriptFlush(t.Context())
		case "clients killed":
			rdb.Do(t.Context(), "client", "kill", "type", "normal")
			rdb.Do(t.Context(), "client", "kill", "type", "pubsub")
		}
	}
}

// record acquires and releases, and notes when the process did so.
func (p *process) record(h *history, client, rounds int) {
	for round := range rounds {
		id := client*1000 + round
		in := historyIn{op: "acquire", lease: fmt.Sprint(id), n: 1 + rand.N(2)}
		got, alive := p.try(command{Do: "acquire", Lease: id, N: in.n, Timeout: 3 * time.Second})
		if !alive {
			return // if it was granted, nobody used it
		}
		h.add(client, in, got.Err == "", got.Begin, got.End)
		if got.Err != "" {
			<-time.After(100 * time.Millisecond) // Redis is away, for as much as this process knows
			continue
		}
		<-time.After(rand.N(10 * time.Millisecond))
		r, alive := p.try(command{Do: "release", Lease: id})
		switch {
		case !alive: // killed, at a time that nobody saw
			in.op = "expire"
			h.add(100+id, in, true, got.End, time.Now().Add(time.Hour).UnixNano())
			return
		case r.Lost: // at a time after the process last saw it alive
			in.op = "expire"
			h.add(100+id, in, true, r.Alive, r.End)
		default:
			in.op = "release"
			h.add(client, in, true, r.Begin, r.End)
		}
	}
}

func (h *history) check(t *testing.T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	granted := 0
	for _, op := range h.ops {
		if op.Output.(bool) && op.Input.(historyIn).op == "acquire" {
			granted++
		}
	}
	if granted < 10 {
		t.Fatalf("only %d leases were had: the test says nothing", granted)
	}
	result, info := porcupine.CheckOperationsVerbose(historyModel, h.ops, 20*time.Second)
	switch result {
	case porcupine.Illegal:
		// go test -artifacts keeps the picture.
		if file, err := os.Create(filepath.Join(t.ArtifactDir(), "history.html")); err == nil {
			_ = porcupine.Visualize(historyModel, info, file)
			_ = file.Close()
		}
		t.Errorf("no semaphore of %d permits does this", historyLimit)
	case porcupine.Unknown:
		t.Logf("the check of %d operations was given up", len(h.ops))
	}
}
