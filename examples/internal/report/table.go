package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/caller"
)

// Write writes the summary as tables.
func (s *Summary) Write(w io.Writer) {
	rate := 0.0
	if s.Elapsed > 0 {
		rate = float64(s.Succeeded) / s.Elapsed
	}
	fmt.Fprintf(w, "\n%s requests: %s succeeded, %s failed, in %.1f s\n",
		Count(s.Requests), Count(s.Succeeded), Count(s.Failed), s.Elapsed)
	if s.Attempts == 0 {
		return
	}

	Section(w, "Calls", "<>", [][]string{
		{"throughput", fmt.Sprintf("%.1f/s", rate)},
		{"attempts", Count(s.Attempts)},
		{"retries", Count(s.Retries)},
		{"429s received", Count(s.Throttled)},
		{"send times missed", Count(s.Missed)},
	})
	Section(w, "Latency, from sending to the response", "<>", [][]string{
		{"p50", millis(s.P50)}, {"p95", millis(s.P95)}, {"p99", millis(s.P99)},
	})
	Section(w, "Utilization of the limits", "<<<><", s.limitRows())
	Section(w, "Keys", "<<>><<", s.keyRows())
	Section(w, "Attempts that failed", "<>", s.errorRows())
}

func (s *Summary) limitRows() (rows [][]string) {
	for _, l := range s.Limits {
		allowed := Count(l.Limit) + " in flight"
		if l.Per > 0 {
			allowed = fmt.Sprintf("%s per %s", Count(l.Limit), period(l.Per))
		}
		rows = append(rows, []string{string(l.Metric), allowed, holder(l.Scope), percent(l.Used), Bar(l.Used)})
	}
	return rows
}

func (s *Summary) keyRows() (rows [][]string) {
	for _, k := range s.Keys {
		share := 0.0
		if s.Attempts > 0 {
			share = float64(k.Attempts) / float64(s.Attempts)
		}
		rows = append(rows, []string{k.ID, k.Account, Count(k.Attempts), percent(share), Bar(share), k.State})
	}
	return rows
}

func (s *Summary) errorRows() (rows [][]string) {
	for _, kind := range slices.Sorted(maps.Keys(s.Errors)) {
		rows = append(rows, []string{kind, Count(s.Errors[kind])})
	}
	return rows
}

// Section writes rows in columns under a title. Without rows it writes nothing. align has < or > for each column.
func Section(w io.Writer, title, align string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(align))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if align[i] == '<' {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// Bar returns a bar of twenty steps for a share, 0 to 1.
func Bar(share float64) string {
	full := int(min(max(share, 0), 1)*20 + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("·", 20-full)
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func millis(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }

// period formats a duration as 1m, where String has 1m0s.
func period(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// holder returns what has a limit of a scope, as text.
func holder(scope caller.LimitScope) string {
	if scope == caller.PerPool {
		return "the pool"
	}
	return "each " + string(scope)
}
