package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/batch"
	"github.com/penstock/penstock/examples/internal/ledger"
)

// task is what a worker is to do.
type task struct {
	Name     string
	Life     int // how often it was started before
	Files    string
	AtLeast  int // bulk calls to begin, even if it is stopped before
	Redis    address
	Provider string // URL
	Pool     string
	Callers  int
	Load     load
}

// ending is what a worker says at its end.
type ending struct {
	Taken      int // bulk calls begun or found done
	Goroutines int // beyond those at the beginning
	MemoryMB   float64
	Samples    []sample
}

const (
	bulkTimeout   = 30 * time.Second
	urgentTimeout = 10 * time.Second
	// urgentEvery is the time between two interactive calls of a worker.
	urgentEvery = 250 * time.Millisecond
	// closeTimeout bounds Close of the pool.
	closeTimeout = 5 * time.Second
)

// job is the work of a worker process.
type job struct {
	task    *task
	client  *client
	out     *batch.Journal
	done    map[string]bool
	taken   int
	stopped atomic.Bool
	stop    chan struct{}

	mu     sync.Mutex // of failed: interactive calls write it, too
	failed *batch.Journal
}

// serveWorker is a worker's main function. It reads its task, writes "ready", works until it reads "stop" or its input
// ends, finishes the calls that it has begun, and writes its ending to a file.
func serveWorker(in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // the driver ends its workers
	before := runtime.NumGoroutine()
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a worker without a task: %w", err)
	}
	j := &job{task: new(task), done: map[string]bool{}, stop: make(chan struct{})}
	if err := json.Unmarshal(text, j.task); err != nil {
		return err
	}
	if err := j.open(); err != nil {
		return err
	}
	rdb := j.task.Redis.connect()
	pool, err := caller.New(rdb, j.task.Load.pool(j.task.Pool, j.task.Name))
	if err != nil {
		return err
	}
	wire := caller.NewHTTPTransport(0)
	j.client = newClient(pool, wire, j.task.Provider)
	go func() {
		_, _ = lines.ReadString('\n')
		j.stopped.Store(true)
		close(j.stop)
	}()
	fmt.Fprintln(out, "ready")
	samples := startSampler(j.task.Load.SampleEvery)
	work := j.run()

	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	closing := pool.Close(ctx)
	_ = rdb.Close()
	wire.CloseIdleConnections()
	return errors.Join(work, closing, j.out.Close(), j.failed.Close(), j.end(before, samples.end()))
}

// open opens the files and learns what earlier lives have done.
func (j *job) open() (err error) {
	if j.out, err = batch.OpenJournal(j.task.Files+".out", learn[ledger.Answer](j)); err != nil {
		return err
	}
	j.failed, err = batch.OpenJournal(j.task.Files+".failed", learn[ledger.Failure](j))
	return err
}

func learn[T any](j *job) func([]byte) error {
	return func(line []byte) error {
		var v T
		var id struct {
			ID string `json:"id"`
		}
		if err := errors.Join(json.Unmarshal(line, &v), json.Unmarshal(line, &id)); err != nil || id.ID == "" {
			return fmt.Errorf("not a line of a worker: %s", line)
		}
		j.done[id.ID] = true
		if number, ok := strings.CutPrefix(id.ID, j.task.Name+"-"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				j.task.AtLeast = max(j.task.AtLeast, n+1)
			}
		}
		return nil
	}
}

// run makes calls until the worker is stopped and all calls have ended.
func (j *job) run() error {
	var urgent sync.WaitGroup
	urgent.Go(j.urgent)
	err := batch.Run(context.Background(), j.inputs(), j.bulk, j.write, batch.Options{Workers: j.task.Callers})
	urgent.Wait()
	return err
}

// inputs yields the IDs of bulk calls that no earlier life has done.
func (j *job) inputs() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for n := 0; n < j.task.AtLeast || !j.stopped.Load(); n++ {
			id := ledger.BulkID(j.task.Name, n)
			j.taken = n + 1
			if !j.done[id] && !yield(id, nil) {
				return
			}
		}
	}
}

// bulk makes one bulk call.
func (j *job) bulk(ctx context.Context, id string) (ledger.Answer, error) {
	ctx = caller.WithOptions(ctx, caller.Options{Priority: caller.PriorityLow})
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(j.task.Load.CallTimeout, bulkTimeout))
	defer cancel()
	return j.client.ask(ctx, id)
}

// write writes the result of a bulk call.
func (j *job) write(r batch.Result[string, ledger.Answer]) error {
	if r.Err != nil {
		return j.fail(r.In, r.Err)
	}
	return appendTo(j.out, r.Out)
}

func (j *job) fail(id string, err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return appendTo(j.failed, ledger.Failure{ID: id, Error: err.Error()})
}

func appendTo(f *batch.Journal, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.Append(line)
}

// urgent makes an interactive call now and then, until the worker is stopped and they have ended.
func (j *job) urgent() {
	var calls sync.WaitGroup
	defer calls.Wait()
	tick := time.NewTicker(urgentEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-j.stop:
			return
		}
		calls.Go(func() {
			ctx := caller.WithOptions(context.Background(), caller.Options{Priority: caller.PriorityHigh})
			ctx, cancel := context.WithTimeout(ctx, cmp.Or(j.task.Load.CallTimeout, urgentTimeout))
			defer cancel()
			id := ledger.UrgentID(j.task.Name, j.task.Life, n)
			if _, err := j.client.ask(ctx, id); err != nil {
				_ = j.fail(id, err) // the bulk calls' next line fails, too, and ends the worker
			}
		})
	}
}

// end writes the ending. Goroutines that are about to end have a while.
func (j *job) end(before int, samples []sample) error {
	for deadline := time.Now().Add(2 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	e := ending{Taken: j.taken, Goroutines: runtime.NumGoroutine() - before, MemoryMB: float64(m.HeapInuse) / (1 << 20), Samples: samples}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return os.WriteFile(j.task.Files+".end", text, 0o600)
}

// client sends calls through the pool.
type client struct {
	http *http.Client
	url  string
}

func newClient(pool *caller.Pool, wire http.RoundTripper, url string) *client {
	return &client{&http.Client{Transport: pool.Transport(wire, caller.TransportConfig{})}, url}
}
