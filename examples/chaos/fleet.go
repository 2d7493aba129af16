package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller/batch"
	"github.com/penstock/penstock/examples/internal/ledger"
	"github.com/penstock/penstock/examples/internal/recorder"
	"github.com/penstock/penstock/internal/redistest"
)

// fleet is the workers of a run.
type fleet struct {
	t       testing.TB
	workers []*worker
}

// worker is one worker process, over all its lives.
type worker struct {
	task    task
	child   *redistest.Child
	kills   []time.Duration
	early   string
	samples []sample
}

// startFleet starts the workers and returns when all of them are ready.
func startFleet(t testing.TB, o *options, common task) *fleet {
	f := &fleet{t: t}
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for n := range o.workers {
		w := &worker{task: common}
		w.task.Name = fmt.Sprintf("w%d", n)
		w.task.Files = filepath.Join(dir, w.task.Name)
		w.child = child(t, roleWorker, w.task)
		f.workers = append(f.workers, w)
	}
	for _, w := range f.workers {
		w.child.Expect("ready")
	}
	return f
}

// pick returns a worker.
func (f *fleet) pick(n int) *worker { return f.workers[n%len(f.workers)] }

// kill ends a worker with SIGKILL.
func (f *fleet) kill(w *worker, now time.Duration) {
	f.notEnded(w)
	w.child.Kill9()
	w.kills = append(w.kills, now)
}

// restart starts a worker that was killed, with the same files. It takes up at least the calls that were seen of it.
func (f *fleet) restart(w *worker, seen []recorder.Attempt) {
	w.task.Life++
	w.task.AtLeast = bulkSeen(w.task.Name, seen)
	w.child = child(f.t, roleWorker, w.task)
	w.child.Expect("ready")
}

// bulkSeen returns one more than the highest number of a worker's bulk calls.
func bulkSeen(name string, attempts []recorder.Attempt) int {
	highest := 0
	for _, a := range attempts {
		if number, ok := strings.CutPrefix(a.ID, name+"-"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				highest = max(highest, n+1)
			}
		}
	}
	return highest
}

// notEnded notes that a worker has ended by itself.
func (f *fleet) notEnded(w *worker) {
	select {
	case <-w.child.Ended():
		if w.early == "" {
			w.early = "ended while there was work: " + reason(w.child)
		}
	default:
	}
}

// stop tells all workers to finish and waits for their ends.
func (f *fleet) stop() {
	for _, w := range f.workers {
		f.notEnded(w)
		if w.early == "" {
			w.child.Send("stop")
		}
	}
	bound := f.stopBound()
	late := time.After(bound)
	for _, w := range f.workers {
		if w.early != "" {
			continue
		}
		select {
		case <-w.child.Ended():
			if err := w.child.Wait(time.Minute); err != nil { // has ended
				w.early = "did not end well: " + reason(w.child)
			}
		case <-late:
			w.early = fmt.Sprintf("did not end within %v of being stopped", bound)
			w.child.Kill9()
			late = time.After(0) // the others have had the same time
		}
	}
}

// stopBound is how long workers may take for the calls that they have begun when they are stopped.
func (f *fleet) stopBound() time.Duration {
	return cmp.Or(f.workers[0].task.Load.CallTimeout, bulkTimeout) + 15*time.Second
}

// reason is how a child ended.
func reason(c *redistest.Child) string {
	text := "exit code 0"
	if err := c.Wait(time.Minute); err != nil {
		text = err.Error()
	}
	if said := strings.TrimSpace(c.Stderr()); said != "" {
		text += ": " + said
	}
	return text
}

// collect reads what the workers wrote.
func (f *fleet) collect(run *ledger.Run) {
	for _, w := range f.workers {
		out := ledger.Worker{Name: w.task.Name, Early: w.early, Kills: w.kills, Taken: w.task.AtLeast}
		var end ending
		if text, err := os.ReadFile(w.task.Files + ".end"); err == nil && json.Unmarshal(text, &end) == nil {
			out.Taken = max(out.Taken, end.Taken)
			out.Goroutines, out.MemoryMB, w.samples = end.Goroutines, end.MemoryMB, end.Samples
		}
		out.Taken = max(out.Taken, bulkSeen(w.task.Name, run.Attempts))
		run.Workers = append(run.Workers, out)
		answers, torn := readLines[ledger.Answer](f.t, w.task.Files+".out")
		run.Answers, run.Torn = append(run.Answers, answers...), run.Torn+torn
		failures, torn := readLines[ledger.Failure](f.t, w.task.Files+".failed")
		run.Failures, run.Torn = append(run.Failures, failures...), run.Torn+torn
	}
}

// readLines reads a file of JSON lines, and counts the lines that are none.
func readLines[T any](t testing.TB, path string) (all []T, torn int) {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // was only read
	for line, err := range batch.Lines(file, batch.MaxRecord) {
		var v T
		if err != nil || line.Torn || json.Unmarshal(line.Text, &v) != nil {
			torn++
			continue
		}
		all = append(all, v)
	}
	return all, torn
}
