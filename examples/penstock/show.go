package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/penstock/penstock/caller/status"
)

// show reads the state once, and writes it as JSON or as text.
func show(ctx context.Context, c *client, f *flags, w io.Writer, pick func(*status.State) any, text func(io.Writer, *status.State)) error {
	s, err := c.state(ctx)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(w, pick(s))
	}
	text(w, s)
	return nil
}

func inspect(ctx context.Context, c *client, f *flags, w io.Writer) error {
	return show(ctx, c, f, w, func(s *status.State) any { return s }, writeAll)
}

func why(ctx context.Context, c *client, f *flags, w io.Writer) error {
	return show(ctx, c, f, w, func(s *status.State) any { return s.Waiting }, writeWaiting)
}

func showKeys(ctx context.Context, c *client, f *flags, w io.Writer) error {
	return show(ctx, c, f, w, func(s *status.State) any { return s.Accounts }, writeKeys)
}

func showLimits(ctx context.Context, c *client, f *flags, w io.Writer) error {
	return show(ctx, c, f, w, func(s *status.State) any { return s.Limits }, writeLimits)
}

// watch writes the state every second until ctx ends. In a terminal each replaces the one before; with -json each is a line.
func watch(ctx context.Context, c *client, f *flags, w io.Writer) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		var text strings.Builder
		s, err := c.state(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && f.json:
			return err
		case err != nil:
			fmt.Fprintf(&text, "%v\n", err)
		case f.json:
			if err := printLine(&text, s); err != nil {
				return err
			}
		default:
			writeAll(&text, s)
		}
		if !f.json {
			fmt.Fprint(w, "\x1b[H\x1b[2J") // the cursor goes home, and the screen is emptied
		}
		if _, err := io.WriteString(w, text.String()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func disable(ctx context.Context, c *client, f *flags, w io.Writer) error {
	if err := c.change(ctx, status.Change{Action: "disable", Key: f.names[0], Reason: f.reason}); err != nil {
		return err
	}
	fmt.Fprintf(w, "key %s is disabled in all processes\n", f.names[0])
	return nil
}

func enable(ctx context.Context, c *client, f *flags, w io.Writer) error {
	if err := c.change(ctx, status.Change{Action: "enable", Key: f.names[0]}); err != nil {
		return err
	}
	fmt.Fprintf(w, "key %s is enabled\n", f.names[0])
	return nil
}

func pause(ctx context.Context, c *client, f *flags, w io.Writer) error {
	return changeAccounts(ctx, c, f, w, status.Change{Action: "disable", Reason: f.reason}, "paused")
}

func resume(ctx context.Context, c *client, f *flags, w io.Writer) error {
	return changeAccounts(ctx, c, f, w, status.Change{Action: "enable"}, "back in use")
}

// changeAccounts changes the account that the arguments name, or all.
func changeAccounts(ctx context.Context, c *client, f *flags, w io.Writer, change status.Change, now string) error {
	names := f.names
	if len(names) == 0 {
		s, err := c.state(ctx)
		if err != nil {
			return err
		}
		for _, a := range s.Accounts {
			names = append(names, a.ID)
		}
	}
	var errs []error
	for _, change.Account = range names {
		if err := c.change(ctx, change); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(w, "account %s is %s\n", change.Account, now)
	}
	return errors.Join(errs...)
}

// table writes rows in columns.
func table(w io.Writer, head string, rows func(row func(...any))) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(head, "|", "\t"))
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, c)
		}
		fmt.Fprintln(t)
	})
	_ = t.Flush()
}

func writeAll(w io.Writer, s *status.State) {
	fmt.Fprintf(w, "pool %s: %.1f calls/s, %d in flight, %d waiting; in 15 minutes %d succeeded, %d failed, %d throttled\n\n",
		s.Pool, s.Last.PerSecond, s.InFlight, s.CallsWaiting, s.Last.Succeeded, s.Last.Failed, s.Last.Throttled)
	writeWaiting(w, s)
	fmt.Fprintln(w)
	writeKeys(w, s)
	fmt.Fprintln(w)
	writeLimits(w, s)
	fmt.Fprintln(w)
	table(w, "REPLICA|REPORTED|UP|IN FLIGHT|WAITING|TROUBLE", func(row func(...any)) {
		for i := range s.Replicas {
			r := &s.Replicas[i]
			trouble := r.RedisError
			if r.Drifted {
				trouble = strings.TrimSpace("configured otherwise: " + strings.Join(r.Differences, ", ") + " " + trouble)
			}
			row(r.Name, span(r.Seen)+" ago", span(r.Uptime), r.InFlight, r.Waiting, trouble)
		}
	})
}

func writeWaiting(w io.Writer, s *status.State) {
	if len(s.Waiting) == 0 {
		fmt.Fprintln(w, "no call waits")
		return
	}
	table(w, "PRIORITY|WAITS FOR|CALLS|REPLICAS|NEXT IN", func(row func(...any)) {
		for _, q := range s.Waiting {
			what, until := q.For, "a release"
			if what == "" {
				what = "Redis"
			}
			if q.Until != nil {
				until = span(*q.Until)
			}
			row(q.Priority, what, q.Calls, q.Replicas, until)
		}
	})
}

func writeKeys(w io.Writer, s *status.State) {
	table(w, "ACCOUNT|KEY|STATE|FOR|REASON", func(row func(...any)) {
		for _, a := range s.Accounts {
			for _, k := range a.Keys {
				left := ""
				if k.For != nil {
					left = span(*k.For)
				}
				row(a.ID, k.ID, k.State, left, k.Reason)
			}
		}
	})
}

func writeLimits(w io.Writer, s *status.State) {
	table(w, "OF|LIMIT|USED|UNITS|PACE", func(row func(...any)) {
		for i := range s.Limits {
			l := &s.Limits[i]
			of := "pool"
			if l.Account != "" {
				of = l.Account
			}
			if l.Key != "" {
				of = l.Key
			}
			limit := fmt.Sprintf("%d %s per %v", l.Rate, l.Metric, time.Duration(l.Period*float64(time.Second)))
			limit = strings.TrimSpace(limit + " " + strings.Join(l.Models, ","))
			row(of, limit, fmt.Sprintf("%.1f%%", 100*l.Share), l.Units, fmt.Sprintf("%.0f%%", 100*l.Pace))
		}
	})
}

// span writes seconds for people.
func span(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
