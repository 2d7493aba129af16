package batch

import (
	"context"
	"sync"
)

// Begin marks the call of this context as begun: call it right before a request is sent. A drain lets a call that has
// begun finish. A drain ends a call that hasn't: its context ends with the cause ErrDrained, and Begin returns ErrDrained,
// after which the call must not go on. Begin may be called again for a further attempt. On any other context it returns
// nil.
//
// A call that never calls Begin counts as waiting for as long as it lasts.
func Begin(ctx context.Context) error {
	a, _ := ctx.Value(admissionKey{}).(*admission)
	if a == nil {
		return nil
	}
	return a.begin()
}

type admissionKey struct{}

// admissions are the calls in progress.
type admissions struct {
	mu        sync.Mutex
	waiting   map[*admission]struct{}
	abandoned bool
}

// admission is one call.
type admission struct {
	all    *admissions
	cancel context.CancelCauseFunc
	begun  bool
}

// enter adds a call. The function that it returns removes the call.
func (s *admissions) enter(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &admission{all: s, cancel: cancel}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = make(map[*admission]struct{})
	}
	s.waiting[a] = struct{}{}
	if s.abandoned {
		cancel(ErrDrained)
	}
	return context.WithValue(ctx, admissionKey{}, a), a.leave
}

// abandon ends every call that hasn't begun, now and from now on.
func (s *admissions) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	for a := range s.waiting {
		a.cancel(ErrDrained)
	}
}

func (a *admission) begin() error {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	if a.begun {
		return nil
	}
	if a.all.abandoned {
		return ErrDrained
	}
	a.begun = true
	delete(a.all.waiting, a)
	return nil
}

func (a *admission) leave() {
	a.all.mu.Lock()
	defer a.all.mu.Unlock()
	delete(a.all.waiting, a)
	a.cancel(nil)
}
