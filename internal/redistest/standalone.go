package redistest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Standalone runs f outside of go test, for programs that need the same servers and processes as tests. A failure or a
// skip ends f and is the error. Cleanups run when f ends, the last one first. t has Cleanup, Context, Error, Errorf,
// Fail, FailNow, Failed, Fatal, Fatalf, Helper, Log, Logf, Name, Skip, SkipNow, Skipf and Skipped; other methods panic.
func Standalone(ctx context.Context, name string, f func(t testing.TB)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &standalone{ctx: ctx, name: name}
	ended := make(chan struct{})
	go func() { // FailNow ends the goroutine
		defer close(ended)
		defer s.cleanup()
		defer cancel()
		f(s)
	}()
	<-ended
	return errors.Join(s.errs...)
}

// standalone is a testing.TB without a test.
type standalone struct {
	testing.TB // has the methods that nothing here calls

	ctx  context.Context
	name string

	mu       sync.Mutex
	cleanups []func()
	errs     []error
	skipped  bool
}

// cleanup runs the cleanups. A cleanup that ends the goroutine doesn't keep the others from running.
func (s *standalone) cleanup() {
	s.mu.Lock()
	n := len(s.cleanups)
	if n == 0 {
		s.mu.Unlock()
		return
	}
	last := s.cleanups[n-1]
	s.cleanups = s.cleanups[:n-1]
	s.mu.Unlock()
	defer s.cleanup()
	last()
}

func (s *standalone) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

func (s *standalone) Context() context.Context { return s.ctx }

func (s *standalone) Name() string { return s.name }

func (s *standalone) Helper() {}

func (s *standalone) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.errs) > 0
}

func (s *standalone) Skipped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.skipped
}

func (s *standalone) fail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, errors.New(strings.TrimSuffix(text, "\n")))
}

func (s *standalone) Fail() { s.fail(s.name + " failed") }

func (s *standalone) FailNow() {
	s.Fail()
	runtime.Goexit()
}

func (s *standalone) Error(args ...any) { s.fail(fmt.Sprintln(args...)) }

func (s *standalone) Errorf(format string, args ...any) { s.fail(fmt.Sprintf(format, args...)) }

func (s *standalone) Fatal(args ...any) {
	s.Error(args...)
	runtime.Goexit()
}

func (s *standalone) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

// Log discards its arguments: the output belongs to the program.
func (s *standalone) Log(...any) {}

// Logf discards its arguments.
func (s *standalone) Logf(string, ...any) {}

func (s *standalone) SkipNow() {
	s.mu.Lock()
	s.skipped = true
	s.mu.Unlock()
	runtime.Goexit()
}

func (s *standalone) Skip(args ...any) {
	s.fail(fmt.Sprintln(args...))
	s.SkipNow()
}

func (s *standalone) Skipf(format string, args ...any) {
	s.fail(fmt.Sprintf(format, args...))
	s.SkipNow()
}
