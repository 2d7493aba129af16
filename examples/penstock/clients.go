package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/penstock/penstock/caller/gateway"
)

// showClients shows what each client of a gateway used, by day and model.
func showClients(ctx context.Context, f *flags, w io.Writer) error {
	if f.redis == "" {
		return &usageError{"give -redis with the URL of the gateway's Redis"}
	}
	rdb, err := openRedis(f.redis)
	if err != nil {
		return err
	}
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	all, err := gateway.ReadUsage(ctx, rdb, f.gateway)
	switch {
	case err != nil:
		return explain(err)
	case f.json:
		return printJSON(w, all)
	case len(all) == 0:
		fmt.Fprintf(w, "no client of a gateway named %s has used anything\n", f.gateway)
		return nil
	}
	table(w, "DAY|CLIENT|MODEL|REQUESTS|INPUT TOKENS|OUTPUT TOKENS|DOLLARS", func(row func(...any)) {
		for _, u := range all {
			model := u.Model
			if model == "" {
				model = "unknown"
			}
			dollars := fmt.Sprintf("%.6f", float64(u.Microdollars)/1e6)
			row(u.Day.Format(time.DateOnly), u.Client, model, u.Requests, u.InputTokens, u.OutputTokens, dollars)
		}
	})
	return nil
}
