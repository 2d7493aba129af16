package bounded

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// The map holds at most MaxNames names, however many are added, and a name that is read each time is never evicted.
func TestMap_HoldsABoundedNumberOfNames(t *testing.T) {
	t.Parallel()
	var m Map[int]
	*m.Get("favourite") = 7
	for i := range 50 * MaxNames {
		if m.Get(fmt.Sprint("name ", i)) == nil {
			t.Fatalf("name %d: got no value, want one", i)
		}
		if v := m.Find("favourite"); v == nil || *v != 7 {
			t.Fatalf("after %d names: got %v for the name that is read each time, want 7", i, v)
		}
		n := 0
		if m.Each(func(string, *int) { n++ }); n > MaxNames {
			t.Fatalf("got %d names, want at most %d", n, MaxNames)
		}
	}
}

// Find adds no name, and the zero map has none.
func TestMap_FindAddsNothing(t *testing.T) {
	t.Parallel()
	var m Map[int]
	if v := m.Find("a"); v != nil {
		t.Errorf("got %v from an empty map, want nil", *v)
	}
	m.Get("b")
	if v := m.Find("a"); v != nil {
		t.Errorf("got %v for a name that was never added, want nil", *v)
	}
	m.Each(func(name string, _ *int) {
		if name != "b" {
			t.Errorf("got the name %q, want b alone", name)
		}
	})
}

// A name of MaxNameLength bytes is added, a longer one is not.
func TestMap_RefusesLongNames(t *testing.T) {
	t.Parallel()
	var m Map[int]
	if m.Get(strings.Repeat("x", MaxNameLength)) == nil {
		t.Errorf("got nil for a name of %d bytes, want a value", MaxNameLength)
	}
	if m.Get(strings.Repeat("x", MaxNameLength+1)) != nil {
		t.Errorf("got a value for a name of %d bytes, want nil", MaxNameLength+1)
	}
}

// All goroutines that add one name get the same value (with -race: without a data race).
func TestMap_GivesOneValueToConcurrentCallers(t *testing.T) {
	t.Parallel()
	var m Map[sync.Mutex]
	var wg sync.WaitGroup
	values := make([]*sync.Mutex, 8)
	for g := range values {
		wg.Go(func() { values[g] = m.Get("name") })
	}
	wg.Wait()
	for g, v := range values {
		if v != values[0] || v == nil {
			t.Errorf("goroutine %d: got %p, want %p", g, v, values[0])
		}
	}
}
