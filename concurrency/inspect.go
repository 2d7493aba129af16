package concurrency

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/scripts"
)

// State is who holds and who waits for a semaphore.
type State struct {
	Limit    int           // permits, as they count now: the adaptive limit, if there is one
	Ceiling  int           // the configured limit that counts
	Version  int64         // of Ceiling
	Latency  time.Duration // of late, as the adaptive limit knows it; 0: unknown
	Baseline time.Duration // that the gradient measures Latency by; 0: unknown
	Sessions []SessionState
}

// SessionState is one process's part.
type SessionState struct {
	ID        string
	Name      string        // see WithSession
	Age       time.Duration // since it began to hold or wait
	Expires   time.Duration // until its permits come back, unless it reports again
	Allocated int           // permits that it may use
	Held      int           // permits that its leases hold
	Waiting   int           // permits that its callers wait for
	Revoked   bool
}

// Inspect asks Redis who holds and who waits. Sessions that hold nothing and wait for nothing aren't listed. Held and
// Waiting are as of each session's last report.
func (s *Semaphore) Inspect(ctx context.Context) (*State, error) {
	st, err := scripts.InspectSemaphore(ctx, s.rdb, s.name)
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

// Revoke takes the permits of a session back: its leases' contexts end with ErrLeaseLost, and the permits are free as
// soon as it has said so, at the latest when its session expires. The session may acquire again. Revoke reports
// whether there is such a session.
func (s *Semaphore) Revoke(ctx context.Context, session string) (bool, error) {
	found, err := scripts.RevokeSemaphore(ctx, s.rdb, s.name, session)
	if err != nil {
		return false, s.fail(err)
	}
	return found, nil
}

// SetLimit changes the limit for every process, until the next SetLimit, or a process with a higher version, see
// WithVersion. A limit that shrinks takes nothing from leases: permits go back as they are released. With 0, nobody
// gets a permit until the limit is raised. Redis remembers the limit for a day after the last use, and processes for
// as long as they live.
func (s *Semaphore) SetLimit(ctx context.Context, limit int) error {
	if limit < 0 || limit > scripts.SemaphoreMost {
		return s.fail(fmt.Errorf("SetLimit(%d): it must be from 0 to %d", limit, scripts.SemaphoreMost))
	}
	s.mu.Lock()
	known := s.session.version
	s.mu.Unlock()
	version, err := scripts.SetSemaphoreLimit(ctx, s.rdb, s.name, int64(limit), known)
	if err != nil {
		return s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version > s.session.version {
		s.session.version, s.session.ceiling, s.session.limit = version, int64(limit), int64(limit)
	}
	return nil
}
