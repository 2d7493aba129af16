package status

import (
	"context"
	"sync"
	"time"
)

// every is the time between two readings of a pool's state.
const every = time.Second

// feed reads a pool's state at most once in a time, however many pages are open.
type feed struct {
	read func(context.Context) (*State, error)

	mu    sync.Mutex // guards what follows, and is held during a reading
	state *State
	err   error
	at    time.Time
}

// get returns a state that is at most a second old.
func (f *feed) get(ctx context.Context) (*State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at.IsZero() || time.Since(f.at) > every*9/10 {
		// The next reader may have use for it where this one has left.
		f.state, f.err = f.read(context.WithoutCancel(ctx))
		f.at = time.Now()
	}
	return f.state, f.err
}

// forget makes the next get read.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = time.Time{}
}

// follow calls show with the state once a second, until ctx ends or show fails.
func (f *feed) follow(ctx context.Context, show func(*State, error) error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := show(f.get(ctx)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
