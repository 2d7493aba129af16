package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// echo is a program for the tests: it prints its arguments, then the lines that it reads.
func echo(args []string) error {
	fmt.Println("args", strings.Join(args, " "))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "fail" {
			return errors.New("told to fail")
		}
		fmt.Println("read", in.Text())
	}
	return nil
}

// abandon is a program for the tests: it starts a server and lives until its input ends.
func abandon([]string) error {
	s, err := newServer(settings{})
	if err != nil {
		return err
	}
	fmt.Println("pid", s.PID())
	fmt.Println("dir", s.dir)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// A program gets its arguments, reads lines from the test, and its output is read by line.
func TestProcess_TalksToItsTest(t *testing.T) {
	t.Parallel()
	c := Process(t, "echo", "a", "b c")
	if got := c.Expect("args"); got != "a b c" {
		t.Errorf("arguments %q", got)
	}
	c.Send("one")
	c.Send("two")
	if got := c.Line(); got != "read one" {
		t.Errorf("line %q", got)
	}
	c.CloseInput()
	if err := c.Wait(bound); err != nil {
		t.Error(err)
	}
	if got := c.Line(); got != "read two" { // still there after the end
		t.Errorf("line %q", got)
	}
}

// A program that returns an error exits with code 1 and writes the error to standard error.
func TestProcess_ReportsItsFailure(t *testing.T) {
	t.Parallel()
	c := Process(t, "echo")
	c.Send("fail")
	exit, ok := errors.AsType[*exec.ExitError](c.Wait(bound))
	if !ok || exit.ExitCode() != 1 || !strings.Contains(c.Stderr(), "told to fail") {
		t.Errorf("exit %v, stderr %q", exit, c.Stderr())
	}
	unknown := Process(t, "no such program")
	if err := unknown.Wait(bound); err == nil {
		t.Error("no error for an unknown program")
	}
}

// A program can be stopped, continued and killed.
func TestProcess_StopsAndIsKilled(t *testing.T) {
	t.Parallel()
	c := Process(t, "echo")
	c.Expect("args")
	c.Stop()
	c.Send("x")
	c.Cont()
	c.Expect("read x")
	c.Stop()
	c.Kill9() // also ends a stopped process
	if err := c.Wait(bound); err == nil {
		t.Error("a killed process ended well")
	}
}
