package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/penstock/penstock/internal/apisim"
)

// configure reads the flags, and the file that -config names. An -addr or -seed on the command line wins over the
// file's; the other flags and the file exclude each other.
func configure(args []string) (apisim.Config, error) {
	fs := flag.NewFlagSet("apisim", flag.ContinueOnError)
	file := fs.String("config", "", "read the configuration from this YAML `file`")
	addr := fs.String("addr", "", "listen on this `address` (default a free port of 127.0.0.1)")
	seed := fs.Uint64("seed", 0, "decides which calls fail and how long each takes")
	keys := fs.Int("keys", 1, "number of accounts with one key each")
	requests := fs.Int64("requests", 0, "requests per account and window; 0 for no limit")
	tokens := fs.Int64("tokens", 0, "tokens per account and window; 0 for no limit")
	window := fs.Duration("window", time.Minute, "length of the limits' window")
	concurrency := fs.Int("concurrency", 0, "calls in flight per account; 0 for no limit")
	latency := fs.String("latency", "0s", "`duration` of an answer, or a range such as 20ms-80ms")
	var fail apisim.Failures
	fs.Float64Var(&fail.Overloaded, "overloaded", 0, "share of the calls answered with 503")
	fs.Float64Var(&fail.Error, "error", 0, "share of the calls answered with 500")
	fs.Float64Var(&fail.Reset, "reset", 0, "share of the calls whose connection is reset in place of the answer")
	fs.Float64Var(&fail.Cut, "cut", 0, "share of the calls whose answer is cut off in the middle")
	fs.Float64Var(&fail.Hang, "hang", 0, "share of the calls that are never answered")
	if err := fs.Parse(args); err != nil {
		return apisim.Config{}, err
	}
	if fs.NArg() > 0 {
		return apisim.Config{}, fmt.Errorf("unexpected argument %q: apisim takes flags only", fs.Arg(0))
	}
	if *file != "" {
		cfg, err := load(*file)
		cfg.Addr = cmp.Or(*addr, cfg.Addr)
		cfg.Seed = cmp.Or(*seed, cfg.Seed)
		return cfg, err
	}

	cfg := apisim.Config{Addr: *addr, Seed: *seed, Failures: fail}
	var err error
	if cfg.Latency, err = parseLatency(*latency); err != nil {
		return cfg, err
	}
	var limits []apisim.Limit
	for metric, n := range map[apisim.Metric]int64{apisim.Requests: *requests, apisim.Tokens: *tokens} {
		if n != 0 {
			limits = append(limits, apisim.Limit{Metric: metric, Limit: n, Per: *window})
		}
	}
	for i := range *keys {
		cfg.Accounts = append(cfg.Accounts, apisim.Account{
			ID:     fmt.Sprintf("org-%d", i+1),
			Keys:   []apisim.Key{{ID: fmt.Sprintf("k%d", i+1), Secret: fmt.Sprintf("sk-sim-%d", i+1)}},
			Limits: limits, Concurrency: *concurrency,
		})
	}
	return cfg, nil
}

func load(file string) (apisim.Config, error) {
	var cfg apisim.Config
	b, err := os.ReadFile(file)
	if err != nil {
		return cfg, err
	}
	if err := yaml.UnmarshalWithOptions(b, &cfg, yaml.Strict()); err != nil {
		return cfg, fmt.Errorf("%s: %w", file, err)
	}
	return cfg, nil
}

// parseLatency reads "20ms" or "20ms-80ms".
func parseLatency(s string) (apisim.Latency, error) {
	var l apisim.Latency
	low, high, isRange := strings.Cut(s, "-")
	var err error
	if l.Min, err = time.ParseDuration(low); err != nil {
		return l, fmt.Errorf("-latency: %w", err)
	}
	if isRange {
		if l.Max, err = time.ParseDuration(high); err != nil {
			return l, fmt.Errorf("-latency: %w", err)
		}
	}
	return l, nil
}
