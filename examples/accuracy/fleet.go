package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// childVariable is the environment variable that makes this program run as a child process.
const childVariable = "PENSTOCK_ACCURACY_CHILD"

// fleet is the child processes of one run.
type fleet struct{ children []*child }

// child is one process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startFleet starts the processes and returns when all of them are ready.
func startFleet(t task) (_ *fleet, err error) {
	f := new(fleet)
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for t.Process = range t.Processes {
		c, err := startChild(self, &t)
		if err != nil {
			return nil, err
		}
		f.children = append(f.children, c)
	}
	for _, c := range f.children {
		if word, err := c.out.ReadString('\n'); err != nil || word != "ready\n" {
			return nil, fmt.Errorf("a process didn't start: %q, %w", word, err)
		}
	}
	return f, nil
}

func startChild(self string, t *task) (*child, error) {
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), childVariable+"=1"), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd, in, bufio.NewReader(out)}
	return c, json.NewEncoder(in).Encode(t) // the task may hold a password, so it isn't an argument
}

// say writes a line to all processes.
func (f *fleet) say(word string) error {
	var errs []error
	for _, c := range f.children {
		_, err := fmt.Fprintln(c.in, word)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// results returns all processes' results. If ctx ends, it ends the processes.
func (f *fleet) results(ctx context.Context) ([]result, error) {
	stop := context.AfterFunc(ctx, func() {
		for _, c := range f.children {
			_ = c.in.Close()
		}
	})
	defer stop()
	var all []result
	for _, c := range f.children {
		var r result
		text, err := c.out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			return nil, fmt.Errorf("a process ended without its result: %w", err)
		}
		all = append(all, r)
	}
	return all, ctx.Err()
}

// close ends all processes.
func (f *fleet) close() {
	for _, c := range f.children {
		_ = c.in.Close()
		patience := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
		_ = c.cmd.Wait() // its result shows how it went
		patience.Stop()
	}
}

// run makes one run and returns its figures.
func run(ctx context.Context, t task, duration time.Duration) (_ *figures, err error) {
	sim, err := apisim.Start(t.Scenario.provider())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	t.Provider, t.Pool = sim.URL(), poolName()
	f, err := startFleet(t)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.say("go"); err != nil {
		return nil, err
	}
	begun := time.Now()
	if t.Scenario.Trouble {
		defer trouble(ctx, sim, &t.Scenario, duration)()
	}
	if err := pause(ctx, duration); err != nil {
		return nil, err
	}
	atStop, elapsed := sim.Ledger(), time.Since(begun)
	if err := f.say("stop"); err != nil {
		return nil, err
	}
	all, err := f.results(ctx)
	if err != nil {
		return nil, err
	}
	return figuresOf(&t, all, atStop, sim.Ledger(), elapsed), nil
}

// title names the run.
func (t *task) title() string {
	if t.RedisRate {
		return t.Scenario.Name + ", redis_rate"
	}
	return t.Scenario.Name
}
