// Package clock has the mock clock of github.com/benbjohnson/clock, as far as the tests of go.uber.org/ratelimit use it. The clock
// doesn't advance while a call to Redis is in progress.
package clock

import (
	"slices"
	"sync"
	"time"
)

// Mock is a clock that advances only by Add.
type Mock struct {
	mu      sync.Mutex
	now     time.Time
	timers  []timer
	busy    int       // calls in progress
	awaited int       // callers whose call has ended and that make the next one
	changed time.Time // real time of the last change
}

type timer struct {
	at    time.Time
	ch    chan time.Time
	sleep bool
}

// NewMock returns a clock.
func NewMock() *Mock { return &Mock{} }

// Set sets the time.
func (m *Mock) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = t
}

// Now returns the time.
func (m *Mock) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Begin says that a call begins.
func (m *Mock) Begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy++
	m.awaited = max(m.awaited-1, 0)
	m.changed = time.Now()
}

// End says that a call ends.
func (m *Mock) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy--
	m.awaited++
	m.changed = time.Now()
}

// After returns a channel that receives in d.
func (m *Mock) After(d time.Duration) <-chan time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.add(d, false)
}

func (m *Mock) add(d time.Duration, sleep bool) chan time.Time {
	ch := make(chan time.Time, 1)
	m.timers = append(m.timers, timer{at: m.now.Add(d), ch: ch, sleep: sleep})
	m.changed = time.Now()
	return ch
}

// Sleep returns in d. The call in progress ends meanwhile.
func (m *Mock) Sleep(d time.Duration) {
	m.mu.Lock()
	ch := m.add(d, true)
	m.busy--
	m.mu.Unlock()
	<-ch
}

// Add advances the clock by d, timer by timer.
func (m *Mock) Add(d time.Duration) {
	m.mu.Lock()
	m.changed = time.Now() // goroutines that the test has started make their first calls
	m.mu.Unlock()
	m.settle(quiet)
	end := m.Now().Add(d)
	for m.fire(end) {
	}
	m.Set(end)
	m.settle(quiet)
}

// fire advances the clock to the next timer up to end, and waits for what it triggers.
func (m *Mock) fire(end time.Time) bool {
	m.mu.Lock()
	next := -1
	for i := range m.timers {
		if next < 0 || m.timers[i].at.Before(m.timers[next].at) {
			next = i
		}
	}
	if next < 0 || m.timers[next].at.After(end) {
		m.mu.Unlock()
		return false
	}
	t := m.timers[next]
	m.timers = slices.Delete(m.timers, next, next+1)
	m.now = t.at
	m.changed = time.Now()
	if t.sleep {
		m.busy++
	}
	t.ch <- t.at
	m.mu.Unlock()
	if t.sleep {
		m.settle(0)
	} else {
		m.settle(quiet)
	}
	return true
}

const (
	quiet   = 50 * time.Millisecond // without a change, after which nothing more is expected
	patient = time.Second           // for the next call of a caller, which may have made its last one
)

// settle returns when no call is in progress, no caller is about to make one, and nothing has changed for a time.
func (m *Mock) settle(without time.Duration) {
	for {
		m.mu.Lock()
		unchanged := time.Since(m.changed)
		done := m.busy == 0 && unchanged >= without && (m.awaited == 0 || unchanged >= patient)
		if done {
			m.awaited = 0
		}
		m.mu.Unlock()
		if done {
			return
		}
		time.Sleep(20 * time.Microsecond)
	}
}
