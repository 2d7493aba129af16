package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/penstock/penstock/examples/internal/report"
)

// write writes the runs side by side.
func write(w io.Writer, runs []*figures) {
	head := []string{""}
	align := "<" + strings.Repeat(">", len(runs))
	for _, f := range runs {
		head = append(head, f.Run)
	}
	rows := [][]string{head, {"a slot: time between two calls on one account"}}
	for _, f := range runs {
		rows[1] = append(rows[1], fmt.Sprintf("%.1f ms", f.SlotMS))
	}
	add := func(name string, cell func(*figures) string) {
		row := []string{name}
		for _, f := range runs {
			row = append(row, cell(f))
		}
		rows = append(rows, row)
	}
	add("requests used, of what the provider allows", func(f *figures) string { return percent(f.Utilization) })
	add("tokens used", func(f *figures) string { return percent(f.Tokens) })
	add("429s", func(f *figures) string { return report.Count(f.Throttled) })
	add("429s per call", func(f *figures) string { return fmt.Sprintf("%.2f %%", 100*f.Share) })
	add("calls", func(f *figures) string { return report.Count(f.Calls) })
	add("calls lost", func(f *figures) string { return report.Count(f.Lost) })
	add("calls made twice without need", func(f *figures) string { return report.Count(f.Doubled) })
	add("calls per second", func(f *figures) string { return fmt.Sprintf("%.1f", f.PerSecond) })
	add("attempts per call", func(f *figures) string { return fmt.Sprintf("%.3f", float64(f.Attempts)/float64(max(f.Calls, 1))) })
	add("fairness over processes (Jain's index)", func(f *figures) string { return fmt.Sprintf("%.4f", f.Fairness) })
	add("Redis commands per call", func(f *figures) string { return fmt.Sprintf("%.2f", f.RedisCalls) })
	add("send times missed", func(f *figures) string { return report.Count(f.Missed) })
	for _, name := range []string{"interactive", "normal", "bulk"} {
		for _, q := range []struct {
			name string
			of   func(wait) float64
		}{
			{"p50", func(w wait) float64 { return w.P50 }},
			{"p95", func(w wait) float64 { return w.P95 }},
			{"p99", func(w wait) float64 { return w.P99 }},
		} {
			add("wait of "+name+" calls, "+q.name, func(f *figures) string {
				ms := q.of(f.Waits[name])
				return fmt.Sprintf("%.0f ms = %.1f slots", ms, ms/f.SlotMS)
			})
		}
	}
	report.Section(w, "", align, rows)
	for _, f := range runs {
		report.Section(w, "Accounts, as the provider saw them: "+f.Run, "<>>>>>", f.accountRows())
		if f.Error != "" {
			fmt.Fprintf(w, "\nThe first call lost: %s\n", strings.TrimSpace(f.Error))
		}
	}
}

func (f *figures) accountRows() [][]string {
	rows := [][]string{{"account", "admitted", "used", "most in a window", "429s", "most in flight"}}
	for _, a := range f.Accounts {
		rows = append(rows, []string{
			a.ID, report.Count(a.Admitted), percent(a.Utilization), fmt.Sprintf("%d of %d", a.Peak, a.Limit),
			report.Count(a.Throttled), fmt.Sprint(a.MostFlight),
		})
	}
	return rows
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
