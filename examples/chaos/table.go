package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/penstock/penstock/examples/internal/report"
)

// write shows the runs as a table, what broke in each, and the texts of failed calls.
func write(w io.Writer, results []*result, markdown bool) {
	rows := [][]string{{
		"run", "faults", "answered", "failed", "lost", "twice", "torn", "repeated", "requests", "tokens", "in flight",
		"429s", "permits", "early", "recovery", "worst",
	}}
	for _, r := range results {
		rows = append(rows, r.row())
	}
	if markdown {
		writeMarkdown(w, rows)
	} else {
		report.Section(w, "Runs (requests, tokens, in flight: most offered, as a share of the limit; recovery in seconds)",
			"<"+strings.Repeat(">", len(rows[0])-1), rows)
	}
	for _, r := range results {
		var lines [][]string
		for _, d := range r.Defects {
			lines = append(lines, []string{d})
		}
		for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
			lines = append(lines, []string{fmt.Sprintf("  %d calls failed with: %s", r.Errors[text], text)})
		}
		report.Section(w, "What broke: "+r.Run, "<", lines)
	}
	if len(results) == 1 {
		report.Section(w, "Recovery by kind", "<>>>>>", results[0].recoveryRows())
	}
	fmt.Fprintln(w)
}

// writeMarkdown writes a table whose first row is its heading.
func writeMarkdown(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|---|%s\n", strings.Repeat("--:|", len(row)-1))
		}
	}
}

func (r *result) row() []string {
	faults, throttled := 0, 0
	for _, n := range r.Faults {
		faults += n
	}
	for _, n := range r.Throttled {
		throttled += n
	}
	count := func(n int) string { return report.Count(int64(n)) }
	share := func(x float64) string { return fmt.Sprintf("%.2f", x) }
	median, worst := "", ""
	for _, rec := range r.Recovery {
		if rec.Count > 0 {
			median, worst = fmt.Sprintf("%.1f", rec.Median), fmt.Sprintf("%.1f", rec.Worst)
		}
	}
	if len(r.Recovery) > 1 { // by kind, in a table of its own
		median, worst = "", ""
	}
	return []string{
		r.Run, count(faults), count(r.Answered), count(r.Failed), count(r.Lost), count(r.WrittenTwice), count(r.Torn),
		count(r.Doubled), share(r.Offered["requests"]), share(r.Offered["tokens"]), share(r.InFlight),
		count(throttled), count(r.PermitsLeft), count(r.EndedEarly), median, worst,
	}
}

func (r *result) recoveryRows() [][]string {
	rows := [][]string{{"kind", "known", "unknown", "median s", "worst s", "bound s"}}
	for _, kind := range slices.Sorted(maps.Keys(r.Recovery)) {
		rec := r.Recovery[kind]
		bound := "none"
		if rec.Bound > 0 {
			bound = fmt.Sprintf("%.1f", rec.Bound)
		}
		rows = append(rows, []string{
			kind, fmt.Sprint(rec.Count), fmt.Sprint(rec.Unknown), fmt.Sprintf("%.1f", rec.Median), fmt.Sprintf("%.1f", rec.Worst), bound,
		})
	}
	return rows
}
