package alert

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// state is what the sender knows of alerts. It is kept in Redis, so that its successor knows the same.
type state struct {
	Entries map[string]*entry `json:"entries"`
}

// entry is one thing that is or was wrong.
type entry struct {
	Rule      Rule              `json:"rule"`
	Severity  Severity          `json:"severity"`
	Labels    map[string]string `json:"labels,omitempty"`
	Summary   string            `json:"summary"`
	Baseline  float64           `json:"baseline,omitempty"`
	Seen      time.Time         `json:"seen"`                // when it was first read as wrong
	Began     time.Time         `json:"began,omitzero"`      // when people were to be notified; zero: not yet
	Clear     time.Time         `json:"clear,omitzero"`      // since when it has been read as over
	Ended     time.Time         `json:"ended,omitzero"`      // when it was over; zero: it is firing, or not yet
	Delivered map[string]bool   `json:"delivered,omitempty"` // by receiver: it got the end, not only the beginning
}

// giveUp is the time after its end when an alert is dropped although a receiver hasn't got that.
const giveUp = time.Hour

// parseState returns a stored state. What can't be read counts as empty.
func parseState(text string) *state {
	s := &state{}
	if json.Unmarshal([]byte(text), s) != nil || s.Entries == nil {
		s.Entries = map[string]*entry{}
	}
	maps.DeleteFunc(s.Entries, func(_ string, e *entry) bool { return e == nil })
	return s
}

func (s *state) text() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "" // no number is infinite
	}
	return string(text)
}

// baseline returns the baseline of a rule that is firing; 0: it isn't.
func (s *state) baseline(r Rule) float64 {
	if e := s.Entries[identity(r, nil)]; e != nil && e.Ended.IsZero() && !e.Began.IsZero() {
		return e.Baseline
	}
	return 0
}

// advance applies readings. A thing that isn't read any more, such as a key that is gone, clears. receivers are the names of
// those that exist.
func (s *state) advance(readings []reading, receivers []string, now time.Time) {
	read := map[string]bool{}
	for i := range readings {
		r := &readings[i]
		id := identity(r.rule, r.labels)
		read[id] = true
		s.apply(id, r, now)
	}
	for id, e := range s.Entries {
		if !read[id] {
			s.apply(id, &reading{rule: e.Rule, labels: e.Labels, clears: true}, now)
		}
		if e.finished(receivers, now) {
			delete(s.Entries, id)
		}
	}
}

// apply applies one reading.
func (s *state) apply(id string, r *reading, now time.Time) {
	e := s.Entries[id]
	active := e != nil && e.Ended.IsZero()
	switch {
	case r.fires && !active:
		var delivered map[string]bool
		if e != nil { // it begins anew before each receiver got its end; those that didn't have nothing to learn
			delivered = maps.Clone(e.Delivered)
			maps.DeleteFunc(delivered, func(_ string, end bool) bool { return end })
		}
		e = &entry{
			Rule: r.rule, Severity: r.severity, Labels: r.labels, Summary: r.summary, Baseline: r.baseline, Seen: now, Delivered: delivered,
		}
		s.Entries[id] = e
	case !active:
		return
	case r.clears && e.Clear.IsZero():
		e.Clear = now
	case !r.clears:
		e.Clear = time.Time{}
	}
	if e.Began.IsZero() {
		if r.fires {
			e.Summary = r.summary // as it is when people are notified
		}
		if r.fires && now.Sub(e.Seen) >= r.after {
			e.Began = now
		} else if r.clears {
			delete(s.Entries, id) // it was over before
		}
	}
	if !e.Began.IsZero() && !e.Clear.IsZero() && now.Sub(e.Clear) >= r.calm {
		e.Ended = now
	}
}

// finished reports whether nothing is left to do: the alert is over, and each receiver that got its beginning got its end.
func (e *entry) finished(receivers []string, now time.Time) bool {
	if e.Ended.IsZero() {
		return false
	}
	if now.Sub(e.Ended) >= giveUp {
		return true
	}
	for _, name := range receivers {
		if end, begun := e.Delivered[name]; begun && !end {
			return false
		}
	}
	return true
}

// due returns the identities of what a receiver hasn't got, in order: beginnings of what is firing, and ends of what it got the
// beginning of.
func (s *state) due(receiver string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(s.Entries)) {
		e := s.Entries[id]
		end, begun := e.Delivered[receiver]
		if e.Ended.IsZero() && !e.Began.IsZero() && !begun || !e.Ended.IsZero() && begun && !end {
			ids = append(ids, id)
		}
	}
	return ids
}

// delivered records that a receiver got alerts.
func (s *state) delivered(receiver string, ids []string) {
	for _, id := range ids {
		e := s.Entries[id]
		if e.Delivered == nil {
			e.Delivered = map[string]bool{}
		}
		e.Delivered[receiver] = !e.Ended.IsZero()
	}
}

// alert returns an entry as receivers get it.
func (e *entry) alert(pool string) Alert {
	return Alert{
		Pool: pool, Rule: e.Rule, Severity: e.Severity, Labels: e.Labels, Summary: e.Summary, Begin: e.Began, End: e.Ended,
	}
}
