package scripts

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Outcome says what is known of a script call that failed.
type Outcome int

const (
	// Unknown: the script was sent and its reply lost or late. It may have run, once.
	Unknown Outcome = iota
	// NotRun: the script didn't run, and may if it is sent again. Redis can't be reached, is loading, failing over, moving the
	// slot or out of memory, or the client had no free connection.
	NotRun
	// Rejected: Redis refused the script, and will until its configuration or the key changes: no permission, a wrong password,
	// a key of another type. Nothing was written.
	Rejected
)

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case NotRun:
		return "not run"
	case Rejected:
		return "rejected"
	default:
		return "outcome unknown"
	}
}

// Error is a failed script call. Unwrap returns the client's own error.
type Error struct {
	Script  string   // the script's name, such as "gcra"
	Keys    []string // the Redis keys of the call
	Outcome Outcome
	Err     error
}

func newError(script string, keys []string, err error) *Error {
	switch {
	case redis.HasErrorPrefix(err, "LATE"):
		return &Error{Script: script, Keys: slices.Clone(keys), Outcome: NotRun, Err: ErrLate}
	case redis.HasErrorPrefix(err, "STALE"):
		return &Error{Script: script, Keys: slices.Clone(keys), Outcome: NotRun, Err: ErrStale}
	case redis.HasErrorPrefix(err, "LOST all"):
		return &Error{Script: script, Keys: slices.Clone(keys), Outcome: NotRun, Err: ErrLostAll}
	case redis.HasErrorPrefix(err, "LOST"):
		return &Error{Script: script, Keys: slices.Clone(keys), Outcome: NotRun, Err: ErrLost}
	}
	if rule, ok := strings.CutPrefix(err.Error(), "LIMITS "); ok {
		version, text, _ := strings.Cut(rule, " ")
		if n, failure := strconv.ParseInt(version, 10, 64); failure == nil {
			return &Error{Script: script, Keys: slices.Clone(keys), Outcome: NotRun, Err: &LimitsError{n, text}}
		}
	}
	var layout LayoutError
	if n, _ := fmt.Sscanf(err.Error(), "LAYOUT %d %d", &layout.Have, &layout.Want); n == 2 {
		return &Error{Script: script, Keys: slices.Clone(keys), Outcome: Rejected, Err: &layout}
	}
	return &Error{Script: script, Keys: slices.Clone(keys), Outcome: outcome(err), Err: err}
}

// LayoutError is the error of a script that found state of another layout: it did nothing. Processes with different
// versions of this library use one pool.
type LayoutError struct {
	Have int // layout of the state in Redis
	Want int // layout that this version reads and writes
}

// Error names both layouts.
func (e *LayoutError) Error() string {
	return fmt.Sprintf("the state in Redis has layout %d, this version of the library uses layout %d: "+
		"run one version, or give the pool of the new one another name", e.Have, e.Want)
}

// LimitsError is the error of the pool's script if the process follows other limits than those that rule: it did nothing.
type LimitsError struct {
	Version int64  // of the limits that rule; 0: none do, and the process's own version is to be restored
	Text    string // as FollowLimits gave it
}

// Error names the version.
func (e *LimitsError) Error() string {
	return fmt.Sprintf("the limits that rule have version %d, this process follows others; the script did nothing", e.Version)
}

// Error names the script, the first key, and what is known.
func (e *Error) Error() string {
	key := ""
	if len(e.Keys) > 0 {
		key = fmt.Sprintf(" on %q", e.Keys[0])
	}
	return fmt.Sprintf("redis script %s%s: %s: %v", e.Script, key, e.Outcome, e.Err)
}

// Unwrap returns the client's error.
func (e *Error) Unwrap() error { return e.Err }

// ErrLate is the error of a script that started after its deadline: it did nothing.
var ErrLate = errors.New("the script started after its deadline and did nothing")

// ErrStale is the error of a script that started after a newer call of the same session: it did nothing.
var ErrStale = errors.New("the script started after a newer call of the session and did nothing")

// ErrLost is the error of the pool's script if Redis has lost writes that the session had seen: it did nothing.
var ErrLost = errors.New("Redis lost writes: its state is older than this session has seen; the script did nothing")

// ErrLostAll is an ErrLost where nothing is left of the state that the session knew.
var ErrLostAll = fmt.Errorf("%w, and nothing is left of that state", ErrLost)

// passing are the first words of error replies for conditions that pass. Redis sends them before the script runs or in
// place of its first write, so the state is unchanged.
var passing = []string{
	"LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "NOREPLICAS", "BUSY", "MOVED", "ASK",
	"OOM", "max number of clients",
}

func outcome(err error) Outcome {
	if reply, ok := errors.AsType[redis.Error](err); ok {
		if slices.ContainsFunc(passing, func(p string) bool { return strings.HasPrefix(said(reply), p) }) {
			return NotRun
		}
		// Any other reply means that the script didn't get to its end: it may not run, or may not do what it needs to.
		return Rejected
	}
	if errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) {
		return NotRun
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return NotRun
	}
	if errors.Is(err, redis.ErrClosed) {
		return Rejected
	}
	return Unknown
}

// said returns the text of an error reply. Before Redis 7 the error of a command inside a script stands behind its
// position: ERR Error running script (call to f_0123…): @user_script:1: @user_script: 1: -READONLY You can't write.
func said(reply redis.Error) string {
	text := strings.TrimPrefix(reply.Error(), "ERR ")
	if !strings.HasPrefix(text, "Error running script") {
		return text
	}
	if _, inner, ok := strings.Cut(text, ": -"); ok {
		return inner
	}
	return text
}

// OutcomeOf returns what is known of a failed call; Unknown for an error of another package.
func OutcomeOf(err error) Outcome {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Outcome
	}
	return Unknown
}
