package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/penstock/penstock/examples/internal/report"
)

// summary has the figures of a run, which -json prints.
type summary struct {
	report.Summary

	Resumed int64 `json:"resumed"` // requests that earlier runs had done
	// Binding is the bottleneck: the metric of a limit, concurrency, cooldown (after 429s), workers (all were busy, and no
	// limit was reached), or latency (none of these: the run took as long as its calls).
	Binding string `json:"binding"`
}

// mostly is the share of the run for which all workers must have been busy to count as what held it back.
const mostly = 0.8

func (j *job) summary() *summary {
	s := &summary{Summary: j.tally.Summarize(j.pool.Caller, j.elapsed), Resumed: j.resumed.Load()}
	s.Requests, s.Succeeded, s.Failed = j.total, j.succeeded.Load(), j.failed.Load()
	stats := j.caller.Stats()
	s.Missed, s.Binding = stats.SlotsMissed, stats.Bottleneck
	if s.Binding == "" {
		s.Binding = "latency"
		if j.progress.Counts().Blocked.Seconds() >= mostly*j.elapsed.Seconds() {
			s.Binding = "workers"
		}
	}
	return s
}

// left returns the number of requests with neither an answer nor an error.
func (s *summary) left() int64 { return s.Requests - s.Succeeded - s.Failed - s.Resumed }

// Write writes the summary as text.
func (s *summary) Write(w io.Writer) {
	s.Summary.Write(w)
	if s.Resumed > 0 {
		fmt.Fprintf(w, "\n%s requests were done already.\n", report.Count(s.Resumed))
	}
	if s.Attempts > 0 {
		fmt.Fprintf(w, "\nHeld back by: %s\n", s.Binding)
	}
}

// writeJSON writes the summary as one line.
func (s *summary) writeJSON(w io.Writer) {
	_ = json.NewEncoder(w).Encode(s) // the pipe may be closed; the files count
}
