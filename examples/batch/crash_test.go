package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/machine"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// exitCode waits for a program's end.
func exitCode(t *testing.T, c *redistest.Child) int {
	t.Helper()
	exit, ok := errors.AsType[*exec.ExitError](c.Wait(patience))
	if !ok {
		return 0
	}
	return exit.ExitCode()
}

// A process that was killed continues with the same files.
func TestBatch_ContinuesAfterAKill(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	p := startProvider(t, 3, "latency: {min: 100ms, max: 200ms}", "concurrency: 4")
	config := p.pool(3, "concurrency: 4\ntuning: {session_ttl: 2s}\n")
	var tasks []*task
	var children []*redistest.Child
	for _, name := range []string{"a", "b", "c"} {
		k := newTask(t, config, sampleRequests(name, 200))
		k.redis = "redis://" + server.Addr()
		tasks, children = append(tasks, k), append(children, k.start())
	}
	waitForLines(t, tasks[0].out, 50)
	children[0].Kill9()
	children[0] = tasks[0].start()
	for i, k := range tasks {
		s := k.finish(children[i], exitAllSucceeded)
		if n := len(answers(t, k.out)); n != 200 || s.Throttled != 0 {
			t.Errorf("process %d: %d answers, %+v", i, n, s)
		}
		if i == 0 && (s.Resumed < 50 || s.Resumed+s.Succeeded != 200) {
			t.Errorf("after the kill: %+v", s)
		}
	}
	// Only the requests in flight at the process' death are sent again.
	l := p.ledger()
	if l.Throttled() != 0 || l.UnexplainedTwice > 12 {
		t.Errorf("%d 429s, %d answered twice", l.Throttled(), l.UnexplainedTwice)
	}
}

// Another process gets the permits of a killed one after its session's TTL.
func TestBatch_GetsThePermitsOfAKilledProcess(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	server := redistest.Start(t, redistest.WithTCP())
	p := startProvider(t, 1, "latency: {min: 5m}", "concurrency: 4")
	config := p.pool(1, "concurrency: 4\ntuning: {session_ttl: 2s}\n")
	holder, waiter := newTask(t, config, sampleRequests("a", 20)), newTask(t, config, sampleRequests("b", 20))
	holder.redis, waiter.redis = "redis://"+server.Addr(), "redis://"+server.Addr()

	held := holder.start()
	testkit.Eventually(t, "the first process holds every permit", func() bool { return p.ledger().Accounts[0].MostInFlight == 4 })
	waiting := waiter.start()
	p.order("latency", `{"min": "10ms"}`)
	held.Kill9()
	killed, watch := time.Now(), machine.Start(t)
	s := waiter.finish(waiting, exitAllSucceeded)
	took := time.Since(killed)
	t.Logf("the other process was done %v after the kill; a permit of a dead process is taken for %v", took, ttl)
	if s.Succeeded != 20 || s.Binding != "concurrency" || took > ttl+3*time.Second && !watch.Busy(t) {
		t.Errorf("%v after the kill: %+v", took, s)
	}
	if s := holder.run(exitAllSucceeded); s.Succeeded+s.Resumed != 20 || len(answers(t, holder.out)) != 20 {
		t.Errorf("run again: %+v", s)
	}
	if n := p.ledger().Throttled(); n != 0 {
		t.Errorf("%d 429s", n)
	}
}

// A run outlives a Redis that restarts without its data.
func TestBatch_OutlivesARestartOfRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	p := startProvider(t, 2, "latency: {min: 20ms}", "limits: [{metric: requests, limit: 50, per: 1s}]")
	k := newTask(t, p.pool(2, "limits:\n  - {metric: requests, rate: 50, period: 1s}\n"), sampleRequests("r", 400))
	k.redis = "redis://" + server.Addr()
	c := k.start()
	waitForLines(t, k.out, 50)
	server.Kill()
	testkit.Eventually(t, "the program tells of it", func() bool { return strings.Contains(c.Stderr(), "Redis doesn't answer") })
	server.Restart()
	if s := k.finish(c, exitAllSucceeded); s.Succeeded != 400 || len(answers(t, k.out)) != 400 {
		t.Errorf("%+v", s)
	}
	if l := p.ledger(); l.ServedTwice != 0 {
		t.Errorf("%d answered twice", l.ServedTwice)
	}
}

// Ctrl-C lets the calls finish that were sent.
func TestBatch_FinishesSentCallsOnCtrlC(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 1, "latency: {min: 300ms}", "limits: [{metric: requests, limit: 40, per: 1s}]")
	// At this pace all requests take 8 s.
	k := newTask(t, p.pool(1, "limits:\n  - {metric: requests, rate: 40, period: 1s}\n"), sampleRequests("r", 300))
	c := k.start()
	waitForLines(t, k.out, 20)
	c.Signal(os.Interrupt)
	s := k.finish(c, exitInterrupted)
	sent := p.ledger().Admitted()
	if n := int64(len(answers(t, k.out))); n != s.Succeeded || n != sent || n >= 300 || s.left() != 300-n {
		t.Errorf("%d answers for %d requests sent: %+v", n, sent, s)
	}
	if s := k.run(exitAllSucceeded); s.Resumed != sent || s.Resumed+s.Succeeded != 300 || len(answers(t, k.out)) != 300 {
		t.Errorf("run again: %+v", s)
	}
	if l := p.ledger(); l.Throttled() != 0 || l.ServedTwice != 0 {
		t.Errorf("%d 429s, %d answered twice", l.Throttled(), l.ServedTwice)
	}
}

// A second Ctrl-C ends the calls in flight.
func TestBatch_EndsCallsOnTheSecondCtrlC(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 1, "latency: {min: 5m}", "concurrency: 10")
	k := newTask(t, p.pool(1, "concurrency: 10\n"), sampleRequests("r", 100))
	c := k.start()
	testkit.Eventually(t, "calls are in flight", func() bool { return p.ledger().Accounts[0].MostInFlight == 10 })
	c.Signal(os.Interrupt)
	testkit.Eventually(t, "the first Ctrl-C is noticed", func() bool { return c.Stderr() != "" })
	c.Signal(os.Interrupt)
	if s := k.finish(c, exitInterrupted); s.Succeeded != 0 || s.Failed != 0 || s.left() != 100 {
		t.Errorf("%+v", s)
	}
	if text := read(t, k.errors); text != "" {
		t.Errorf("calls that were cut short count as failed: %s", text)
	}
}
