package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"time"
)

//go:embed semaphore_limit.lua
var semaphoreLimitLua string

//go:embed semaphore_revoke.lua
var semaphoreRevokeLua string

//go:embed semaphore_inspect.lua
var semaphoreInspectLua string

var (
	semaphoreLimitScript   = newSemaphoreScript("semaphore_limit", semaphoreLimitLua)
	semaphoreRevokeScript  = newSemaphoreScript("semaphore_revoke", semaphoreRevokeLua)
	semaphoreInspectScript = newSemaphoreScript("semaphore_inspect", semaphoreInspectLua)
)

// SetSemaphoreLimit changes the limit for every process and returns the version of the change, which is higher than
// known and than any before.
func SetSemaphoreLimit(ctx context.Context, c Client, name string, limit, known int64) (int64, error) {
	keys := []string{SemaphoreKey(name)}
	v, err := semaphoreLimitScript.run(ctx, c, keys, []any{"", limit, known})
	if err != nil {
		return 0, err
	}
	version, ok := v.(int64)
	if !ok {
		return 0, newError(semaphoreLimitScript.name, keys, fmt.Errorf("unexpected reply %v", v))
	}
	return version, nil
}

// RevokeSemaphore takes a session's permits back and reports whether there is such a session.
func RevokeSemaphore(ctx context.Context, c Client, name, session string) (bool, error) {
	keys := []string{SemaphoreKey(name)}
	v, err := semaphoreRevokeScript.run(ctx, c, keys, []any{"", wireName(session)})
	return v == int64(1), err
}

// SemaphoreState is the state of a semaphore: its limit, and the sessions that hold or wait.
type SemaphoreState struct {
	Limit    int64         // permits in force; -1: the semaphore has no state
	Ceiling  int64         // the configured limit
	Version  int64         // of Ceiling
	Latency  time.Duration // last latency of the adaptive limit; 0: unknown
	Baseline time.Duration // the gradient's baseline of Latency; 0: unknown
	Sessions []SemaphoreSession
}

// SemaphoreSession is one session's row.
type SemaphoreSession struct {
	ID      string // as it is written in Redis
	Name    string
	Age     time.Duration
	Expires time.Duration // from now, unless the session reports again
	Alloc   int64
	Held    int64
	Waiting int64 // permits waited for
	Revoked bool
}

// InspectSemaphore lists the sessions that hold or wait. It changes nothing.
func InspectSemaphore(ctx context.Context, c Client, name string) (*SemaphoreState, error) {
	keys := []string{SemaphoreKey(name)}
	v, err := semaphoreInspectScript.run(ctx, c, keys, []any{""})
	if err != nil {
		return nil, err
	}
	state, err := decodeSemaphore(v)
	if err != nil {
		return nil, newError(semaphoreInspectScript.name, keys, err)
	}
	return state, nil
}

func decodeSemaphore(v any) (*SemaphoreState, error) {
	const header, row = 6, 8
	r, ok := v.([]any)
	if !ok || len(r) < header {
		return nil, fmt.Errorf("unexpected reply %v", v)
	}
	n, err := integers(r[:header], header)
	if err != nil {
		return nil, err
	}
	state := &SemaphoreState{
		Limit: n[0], Ceiling: n[1], Version: n[2],
		Latency: time.Duration(n[4]) * time.Microsecond, Baseline: time.Duration(n[5]) * time.Microsecond,
	}
	for r = r[header:]; len(r) >= row; r = r[row:] {
		label, isName := r[0].(string)
		id, isID := r[1].(string)
		f, err := integers(r[2:row], row-2)
		if err != nil || !isName || !isID {
			return nil, fmt.Errorf("unexpected reply: no session in %v", r[:row])
		}
		state.Sessions = append(state.Sessions, SemaphoreSession{
			ID: id, Name: label, Age: time.Duration(f[0]) * time.Millisecond, Expires: time.Duration(f[1]) * time.Millisecond,
			Alloc: f[2], Held: f[3], Waiting: f[4], Revoked: f[5] == 1,
		})
	}
	return state, nil
}
