// Command apisim runs the simulated provider of package apisim as a process of its own, until SIGTERM or SIGINT; then
// it prints its ledger as JSON.
//
//	apisim -keys 3 -requests 200 -window 4s -overloaded 0.02 -latency 20ms-80ms -addr 127.0.0.1:18080
//	apisim -config sim.yaml
//
// The first form makes accounts org-1, org-2, … with one key each: k1 with the secret sk-sim-1, and so on. A file may
// have all fields of apisim.Config:
//
//	addr: 127.0.0.1:18080
//	latency: {min: 20ms, max: 80ms}
//	failures: {overloaded: 0.02}
//	accounts:
//	  - id: org-a
//	    keys: [{id: k1, secret: sk-sim-1}, {id: k2, secret: sk-sim-2}]
//	    limits: [{metric: requests, limit: 200, per: 4s}]
//	    concurrency: 20
//
// While it runs, POST /sim/revoke and others change its settings, and GET /sim/ledger returns its ledger.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/penstock/penstock/internal/apisim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "apisim:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. Its first line of output is the address, the rest is the ledger.
func run(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := configure(args)
	if err != nil {
		return err
	}
	sim, err := apisim.Start(cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, sim.URL())
	<-ctx.Done()
	if err := sim.Close(); err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(sim.Ledger())
}
