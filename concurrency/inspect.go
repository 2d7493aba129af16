package concurrency

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// State is a semaphore's state in Redis.
type State struct {
	Limit    int           // permits, now: the adaptive limit, if there is one
	Ceiling  int           // permits: the configured limit that counts
	Version  int64         // of Ceiling
	Latency  time.Duration // of recent calls, measured by the adaptive limit; 0: unknown
	Baseline time.Duration // the latency that the gradient compares Latency with; 0: unknown
	Sessions []SessionState
}

// SessionState is the state of one process's session.
type SessionState struct {
	ID        string
	Name      string        // Config.SessionName
	Age       time.Duration // since the session began to hold or wait
	Expires   time.Duration // until its permits are free, unless it reports again
	Allocated int           // permits that it may use
	Held      int           // permits that its leases hold
	Waiting   int           // permits that its requests wait for
	Revoked   bool
}

// Inspect reads the semaphore's state from Redis. It lists the sessions that hold permits or wait for some. Held and Waiting
// are as of each session's last report.
func (s *Semaphore) Inspect(ctx context.Context) (*State, error) {
	st, err := await(ctx, func(ctx context.Context) (*scripts.SemaphoreState, error) {
		return scripts.InspectSemaphore(ctx, s.rdb, s.cfg.Name)
	})
	if err != nil {
		return nil, s.fail(err)
	}
	if st.Limit < 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return &State{Limit: int(s.session.limit), Ceiling: int(s.session.ceiling), Version: s.session.version}, nil
	}
	state := &State{
		Limit: int(st.Limit), Ceiling: int(st.Ceiling), Version: st.Version, Latency: st.Latency, Baseline: st.Baseline,
	}
	for _, x := range st.Sessions {
		state.Sessions = append(state.Sessions, SessionState{
			ID: x.ID, Name: x.Name, Age: x.Age, Expires: x.Expires,
			Allocated: int(x.Alloc), Held: int(x.Held), Waiting: int(x.Waiting), Revoked: x.Revoked,
		})
	}
	return state, nil
}

// Revoke ends the leases of a session with ErrLeaseLost. Its permits are free when the process has confirmed that, at the
// latest when the session expires. The process may acquire again. Revoke reports whether there is such a session. If ctx
// ends before the reply, the session may have been revoked.
func (s *Semaphore) Revoke(ctx context.Context, session string) (bool, error) {
	found, err := await(ctx, func(ctx context.Context) (bool, error) {
		return scripts.RevokeSemaphore(ctx, s.rdb, s.cfg.Name, session)
	})
	if err != nil {
		return false, s.fail(err)
	}
	return found, nil
}

// SetLimit changes the limit for every process, until another SetLimit, or until a process with a higher
// Config.LimitVersion reports. From 0 to 16,777,215. Leases keep their permits: if the limit falls, permits are returned as
// leases are released. With 0, no request gets a permit until the limit is raised. Redis keeps the limit for a day after the
// last use, and each process for its lifetime. If ctx ends before the reply, the limit may have been changed.
func (s *Semaphore) SetLimit(ctx context.Context, limit int) error {
	if limit < 0 || limit > scripts.SemaphoreMost {
		return s.fail(fmt.Errorf("the new limit is %d: use a number from 0 to %d", limit, scripts.SemaphoreMost))
	}
	_, err := await(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.setLimit(ctx, int64(limit))
	})
	if err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *Semaphore) setLimit(ctx context.Context, limit int64) error {
	s.mu.Lock()
	known := s.session.version
	s.mu.Unlock()
	version, err := scripts.SetSemaphoreLimit(ctx, s.rdb, s.cfg.Name, limit, known)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version > s.session.version {
		s.session.version, s.session.ceiling, s.session.limit = version, limit, limit
	}
	return nil
}

// await returns what f returns, or the context's error when ctx ends before. f then ends with the client's own timeouts,
// because a client may wait for Redis beyond the end of the context.
func await[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if ctx.Err() != nil {
		return none, contextError(ctx)
	}
	ended := make(chan result, 1)
	go func() {
		value, err := f(ctx)
		ended <- result{value, err}
	}()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-ctx.Done():
		return none, contextError(ctx)
	}
}
