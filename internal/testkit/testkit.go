// Package testkit has the helpers that tests of several packages share: bounded waits, and a synctest bubble with a Redis
// in it.
//
// It imports no package of the library, so that tests inside each of them can use it.
package testkit

import (
	"context"
	"testing"
	"time"
)

// Patience bounds every wait of a test for something that must happen. It is far above what a loaded machine needs.
const Patience = 30 * time.Second

// Context returns a context that ends after Patience, or with the test.
func Context(t testing.TB) context.Context {
	t.Helper()
	return ContextFor(t, Patience)
}

// ContextFor returns a context that ends after d, or with the test.
func ContextFor(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until the condition holds, and fails the test if it doesn't within Patience. It is for state that
// offers no signal to wait for.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// Receive returns the next value of a channel, and fails the test if none comes within Patience.
func Receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatalf("not within %v: %s", Patience, what)
		panic("unreachable") // Fatalf ends the goroutine
	}
}
