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

// Several processes run under faults. Porcupine checks that their history is linearizable as a semaphore: at any moment,
// leases hold no more than the limit. A lease may end by itself, because its process was killed or stopped or its session
// ended, at a time that no process recorded. The model may end it at any time from the first possible one on. An acquire
// that failed changes nothing.
func TestHistory_IsThatOfASemaphore(t *testing.T) {
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

// historyModel is a semaphore. Its state is the held leases, as "name=n" in order.
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

// history is what the processes recorded.
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
			Name: "test", Limit: historyLimit, TTL: time.Second, Outage: FailClosed,
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

// disturb injects the fault until stop.
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

// record acquires and releases, and records when the process did so.
func (p *process) record(h *history, client, rounds int) {
	for round := range rounds {
		id := client*1000 + round
		in := historyIn{op: "acquire", lease: fmt.Sprint(id), n: 1 + rand.N(2)}
		got, alive := p.try(command{Do: "acquire", Lease: id, N: in.n, Timeout: 3 * time.Second})
		if !alive {
			return // if it was granted, the process never used it
		}
		h.add(client, in, got.Err == "", got.Begin, got.End)
		if got.Err != "" {
			<-time.After(100 * time.Millisecond) // to this process Redis is away
			continue
		}
		<-time.After(rand.N(10 * time.Millisecond))
		r, alive := p.try(command{Do: "release", Lease: id})
		switch {
		case !alive: // killed, at a time that was not recorded
			in.op = "expire"
			h.add(100+id, in, true, got.End, time.Now().Add(time.Hour).UnixNano())
			return
		case r.Lost: // some time after the process last saw it alive
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
		t.Fatalf("granted leases: got %d, want at least 10", granted)
	}
	result, info := porcupine.CheckOperationsVerbose(historyModel, h.ops, 20*time.Second)
	switch result {
	case porcupine.Illegal:
		// go test -artifacts keeps the file.
		if file, err := os.Create(filepath.Join(t.ArtifactDir(), "history.html")); err == nil {
			_ = porcupine.Visualize(historyModel, info, file)
			_ = file.Close()
		}
		t.Errorf("got a history that no semaphore of %d permits has", historyLimit)
	case porcupine.Unknown:
		t.Logf("the check of %d operations was given up", len(h.ops))
	}
}
