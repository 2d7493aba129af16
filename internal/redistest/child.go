package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Programs are functions of a test binary that its tests may run as processes of their own; see Process. A program
// gets the arguments of Process, talks over os.Stdin and os.Stdout, and ends with exit code 1 if it returns an error,
// which goes to os.Stderr.
type Programs map[string]func(args []string) error

// programVariable is the environment variable that makes a test binary run a program as a child.
const programVariable = "PENSTOCK_TEST_PROGRAM"

// runProgram runs the program that this process was started for, and doesn't return. It returns if there is none.
func runProgram(sets []Programs) {
	name, isChild := os.LookupEnv(programVariable)
	if !isChild {
		return
	}
	for _, set := range sets {
		program := set[name]
		if program == nil {
			continue
		}
		if err := program(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "no program %q; give it to redistest.Main\n", name)
	os.Exit(2)
}

// Child is a process that a test has started. It is killed when the test ends or the test binary dies. Its methods are
// for one goroutine at a time.
type Child struct {
	t        testing.TB
	name     string
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	watchdog *watchdog
	exited   chan struct{} // closed when the process has ended, was reaped, and all its output is here
	err      error         // of Wait, after exited

	mu     sync.Mutex
	lines  []string
	more   chan struct{} // closed and replaced at each line
	stderr bytes.Buffer
}

// Process runs one of the Programs that the test binary gave to Main, in a new process of the same binary.
//
//	func TestMain(m *testing.M) { redistest.Main(m, redistest.Programs{"holder": holder}) }
//
//	child := redistest.Process(t, "holder", server.Addr())
//	child.Expect("holding")
//	child.Kill9()
func Process(t testing.TB, name string, args ...string) *Child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), programVariable+"="+name)
	return Command(t, cmd)
}

// Command runs any command as a Child, such as a program that the test has built. Its standard streams must be unset.
func Command(t testing.TB, cmd *exec.Cmd) *Child {
	t.Helper()
	c := &Child{t: t, name: cmd.String(), cmd: cmd, exited: make(chan struct{}), more: make(chan struct{})}
	var err error
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.watchdog, err = watch(""); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.watchdog.dismiss()
		t.Fatal(err)
	}
	go c.collect(stdout, stderr)
	t.Cleanup(c.close)
	if err := c.watchdog.guard(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return c
}

// collect keeps the output, so that a child never blocks on a test that doesn't read, and reaps the process.
func (c *Child) collect(stdout, stderr io.Reader) {
	var readers sync.WaitGroup
	readers.Go(func() {
		for in := bufio.NewReader(stdout); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				c.mu.Lock()
				c.lines = append(c.lines, strings.TrimSuffix(line, "\n"))
				close(c.more)
				c.more = make(chan struct{})
				c.mu.Unlock()
			}
			if err != nil {
				return
			}
		}
	})
	readers.Go(func() {
		buffer := make([]byte, 4096)
		for {
			n, err := stderr.Read(buffer)
			c.mu.Lock()
			c.stderr.Write(buffer[:n])
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	readers.Wait()
	c.err = c.cmd.Wait()
	close(c.exited)
}

// PID returns the process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Line waits for the next line of the child's standard output. It fails the test if the child ends without one, or
// writes none for 30 seconds.
func (c *Child) Line() string {
	c.t.Helper()
	line, ok := c.next()
	if !ok {
		c.t.Fatalf("%s wrote no further line; stderr:\n%s", c.name, c.Stderr())
	}
	return line
}

// Expect reads lines until one that begins with prefix, and returns the rest of that one, trimmed.
func (c *Child) Expect(prefix string) string {
	c.t.Helper()
	for {
		if rest, ok := strings.CutPrefix(c.Line(), prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
}

// next returns the next line; false if the child has ended or is silent for too long.
func (c *Child) next() (string, bool) {
	late := time.After(bound)
	for ended := false; ; {
		c.mu.Lock()
		if len(c.lines) > 0 {
			line := c.lines[0]
			c.lines = c.lines[1:]
			c.mu.Unlock()
			return line, true
		}
		more := c.more
		c.mu.Unlock()
		if ended {
			return "", false
		}
		select {
		case <-more:
		case <-c.exited:
			ended = true // what it wrote last may have come since
		case <-late:
			return "", false
		}
	}
}

// Send writes a line to the child's standard input.
func (c *Child) Send(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		c.t.Fatalf("%s: write to its standard input: %v", c.name, err)
	}
}

// CloseInput ends the child's standard input.
func (c *Child) CloseInput() { _ = c.stdin.Close() }

// Stderr returns what the child has written to its standard error so far.
func (c *Child) Stderr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stderr.String()
}

// Ended is closed when the child has ended and all its output has arrived.
func (c *Child) Ended() <-chan struct{} { return c.exited }

// Signal sends a signal, such as os.Interrupt.
func (c *Child) Signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%s: signal %v: %v", c.name, s, err)
	}
}

// Kill9 ends the child with SIGKILL and waits for its end.
func (c *Child) Kill9() {
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// Stop stops the child with SIGSTOP: it doesn't run, as in a long pause of the machine.
func (c *Child) Stop() {
	c.t.Helper()
	if err := pause(c.cmd.Process); err != nil {
		c.t.Fatalf("%s: stop: %v", c.name, err)
	}
}

// Cont lets a stopped child continue.
func (c *Child) Cont() {
	c.t.Helper()
	if err := resume(c.cmd.Process); err != nil {
		c.t.Fatalf("%s: continue: %v", c.name, err)
	}
}

// Wait waits for the child's end and returns nil for exit code 0, else an *exec.ExitError. It fails the test if the
// child still runs after within.
func (c *Child) Wait(within time.Duration) error {
	c.t.Helper()
	select {
	case <-c.exited:
		return c.err
	case <-time.After(within):
		c.t.Fatalf("%s still runs after %v; stderr:\n%s", c.name, within, c.Stderr())
		return nil
	}
}

func (c *Child) close() {
	c.Kill9()
	c.watchdog.dismiss()
	if c.t.Failed() && c.Stderr() != "" {
		c.t.Logf("standard error of %s:\n%s", c.name, c.Stderr())
	}
}
