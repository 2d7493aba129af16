package redistest

import (
	"strings"
	"testing"
)

// A failure ends the function, is the error, and every cleanup runs, even after one that fails.
func TestStandalone_ReturnsFailureAndCleansUp(t *testing.T) {
	t.Parallel()
	var ran []string
	err := Standalone(t.Context(), "run", func(t testing.TB) {
		t.Cleanup(func() { ran = append(ran, "first") })
		t.Cleanup(func() { t.Fatal("cleanup failed") })
		t.Cleanup(func() { ran = append(ran, "last") })
		t.Fatalf("broken after %d", 3)
		ran = append(ran, "unreachable")
	})
	if err == nil || !strings.Contains(err.Error(), "broken after 3") || !strings.Contains(err.Error(), "cleanup failed") {
		t.Errorf("got error %v, want both failures", err)
	}
	if got := strings.Join(ran, " "); got != "last first" {
		t.Errorf("got %q, want the cleanups in reverse order", got)
	}
}

// A function that ends well has no error, and its context is over in its cleanups.
func TestStandalone_ReturnsNilWithoutFailure(t *testing.T) {
	t.Parallel()
	var during, after error
	err := Standalone(t.Context(), "run", func(t testing.TB) {
		during = t.Context().Err()
		t.Cleanup(func() { after = t.Context().Err() })
	})
	if err != nil || during != nil || after == nil {
		t.Errorf("got error %v, context %v then %v; want no error, a context that is over only then", err, during, after)
	}
}
