package caller

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// RefusalReason is why a call got no key.
type RefusalReason int

// Values of RefusalReason.
const (
	// NotRefused: the call got a key.
	NotRefused RefusalReason = iota
	// RefusedDeadline: the call's send time would come after its deadline (ErrDeadline).
	RefusedDeadline
	// RefusedNoKeys: no key that may serve the call is in use (ErrNoKeys).
	RefusedNoKeys
	// RefusedNeverFits: the call costs more than a limit allows in a whole period (ErrNeverFits).
	RefusedNeverFits
	// RefusedQueueFull: too many calls of this process wait (ErrQueueFull).
	RefusedQueueFull
	// RefusedCircuitOpen: the circuit of the call's endpoint is open for every key (ErrCircuitOpen).
	RefusedCircuitOpen
	// RefusedClosed: the Pool is closed (ErrClosed).
	RefusedClosed
	// RefusedCanceled: the call's context ended while the call waited, or Config.Timeout was up.
	RefusedCanceled
	// RefusedRedis: Redis rejected the script call.
	RefusedRedis
	// RefusedInvalid: the call's options or cost are out of range.
	RefusedInvalid
)

var refusalNames = [...]string{
	"", "deadline", "no_keys", "never_fits", "queue_full", "circuit_open", "closed", "canceled", "redis", "invalid",
}

// String returns the reason's word, such as "never_fits"; empty for NotRefused.
func (r RefusalReason) String() string {
	if r < 0 || int(r) >= len(refusalNames) {
		return "unknown"
	}
	return refusalNames[r]
}

// MarshalText returns the reason's word.
func (r RefusalReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the word that MarshalText writes.
func (r *RefusalReason) UnmarshalText(text []byte) error {
	return unmarshalWord(r, text, "refusal reason", RefusalReason.String)
}

// refusalReason returns why a call with a context ended with an error before it got a key.
func refusalReason(ctx context.Context, err error) RefusalReason {
	for _, its := range []struct {
		err    error
		reason RefusalReason
	}{
		{ErrQueueFull, RefusedQueueFull}, {ErrNoKeys, RefusedNoKeys}, {ErrNeverFits, RefusedNeverFits}, {ErrClosed, RefusedClosed},
		{ErrCircuitOpen, RefusedCircuitOpen}, {ErrDeadline, RefusedDeadline}, {errInvalidOptions, RefusedInvalid},
		{ErrTimeout, RefusedCanceled}, {errNegativeCost, RefusedInvalid},
	} {
		if errors.Is(err, its.err) {
			return its.reason
		}
	}
	if over(ctx) {
		return RefusedCanceled
	}
	return RefusedRedis
}

// MarshalText returns the outcome's name with underscores, such as "client_error".
func (o Outcome) MarshalText() ([]byte, error) { return []byte(word(o.String())), nil }

// UnmarshalText reads the name that MarshalText or String returns.
func (o *Outcome) UnmarshalText(text []byte) error {
	return unmarshalWord(o, text, "outcome", Outcome.String)
}

// String returns the scope's name: "key", "account" or "provider".
func (s Scope) String() string {
	switch s {
	case ScopeKey:
		return "key"
	case ScopeAccount:
		return "account"
	case ScopeProvider:
		return "provider"
	default:
		return "unknown"
	}
}

// MarshalText returns the scope's name.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name that MarshalText returns.
func (s *Scope) UnmarshalText(text []byte) error {
	return unmarshalWord(s, text, "scope", Scope.String)
}

// word returns a name as one word.
func word(name string) string { return strings.ReplaceAll(name, " ", "_") }

// unmarshalWord sets v to the value whose name is text. Values count from 0, and name returns "unknown" after the last.
func unmarshalWord[T ~int](v *T, text []byte, what string, name func(T) string) error {
	for i := T(0); name(i) != "unknown"; i++ {
		if word(name(i)) == word(string(text)) {
			*v = i
			return nil
		}
	}
	return fmt.Errorf("caller: %q is no %s: use a word that MarshalText writes", text, what)
}
