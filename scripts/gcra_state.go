package scripts

import (
	"fmt"
	"math"
	"strconv"
)

// GCRATurn is the modulus of the amount given back, in microseconds.
const GCRATurn int64 = 1e15

// GCRAState is the state of one limit. The zero state is that of a limit which isn't in Redis.
type GCRAState struct {
	// TAT is the theoretical arrival time, in seconds since 2017. A double keeps a tenth of a microsecond.
	TAT float64
	// Given is the total that was ever given back, in microseconds modulo GCRATurn.
	Given int64
}

// arg returns the state as the script reads and writes it.
func (s GCRAState) arg() any {
	switch {
	case s == GCRAState{}:
		return ""
	case s.Given == 0:
		return s.TAT
	default:
		return string(s.append(make([]byte, 0, 40)))
	}
}

func (s GCRAState) append(b []byte) []byte {
	b = strconv.AppendFloat(b, s.TAT, 'f', 8, 64)
	if s.Given == 0 {
		return b
	}
	digits := strconv.FormatInt(s.Given, 10)
	const zeros = "000000000000000"
	return append(append(b, zeros[len(digits):]...), digits...)
}

// Newer reports whether s is a later state of the same limit than t.
func (s GCRAState) Newer(t GCRAState) bool {
	if t == (GCRAState{}) {
		return s != t
	}
	d := (s.Given - t.Given + GCRATurn) % GCRATurn
	return d < GCRATurn/2 && (d > 0 || s.TAT > t.TAT)
}

// ParseGCRAState reads a state as Redis holds it.
func ParseGCRAState(text string) (GCRAState, error) {
	var s GCRAState
	tat, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return s, fmt.Errorf("state of a rate limit: %w", err)
	}
	s.TAT = tat
	if len(text) >= 25 {
		s.Given, err = strconv.ParseInt(text[len(text)-15:], 10, 64)
	}
	return s, err
}

// gcraGrain is the distance within which two times count as equal: more than twice the step of a double that holds a TAT.
const gcraGrain = 1.5e-7

// GCRAUnits returns a stretch of time, in seconds, in units of interval, cleaned of rounding errors: what the script
// reckons with.
func GCRAUnits(stretch, interval float64) float64 {
	units := stretch / interval
	whole := math.Floor(units + 0.5)
	// The conversion keeps the compiler from fusing the operations, which would round otherwise than Lua does.
	if off := stretch - float64(whole*interval); off < gcraGrain && off > -gcraGrain {
		return whole
	}
	return units
}
