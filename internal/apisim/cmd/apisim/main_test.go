package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/apisim"
)

// The first line of output is the address, the rest is the ledger.
func TestRun_PrintsAddressAndLedger(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"-keys", "2", "-requests", "5", "-window", "1h"}, w)
		_ = w.CloseWithError(err)
		ended <- err
	}()
	out := bufio.NewReader(r)
	url, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSpace(url)+"/v1/chat/completions",
		strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk-sim-2")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("X-Ratelimit-Limit-Requests") != "5" {
		t.Errorf("headers %v", resp.Header)
	}
	cancel()
	var l apisim.Ledger
	if err := json.NewDecoder(out).Decode(&l); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if l.Account("org-2").Admitted != 1 || l.Account("org-1").Admitted != 0 || strings.Contains(url, "sk-") {
		t.Errorf("ledger %+v", l)
	}
}

// A file may have all fields of the configuration.
func TestConfigure_ReadsAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sim.yaml")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
addr: 127.0.0.1:1
seed: 9
latency: {min: 20ms, max: 80ms}
failures: {overloaded: 0.02}
accounts:
  - id: org-a
    keys: [{id: k1, secret: sk-sim-1}, {id: k2, secret: sk-sim-2}]
    limits:
      - {metric: requests, limit: 200, per: 4s}
      - {metric: tokens, limit: 9000, per: 1m}
    concurrency: 20
`)
	cfg, err := configure([]string{"-config", file, "-addr", "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	a := cfg.Accounts[0]
	if cfg.Addr != "127.0.0.1:0" || cfg.Seed != 9 || cfg.Latency.Max != 80*time.Millisecond || cfg.Failures.Overloaded != 0.02 ||
		len(a.Keys) != 2 || a.Limits[1] != (apisim.Limit{Metric: apisim.Tokens, Limit: 9000, Per: time.Minute}) || a.Concurrency != 20 {
		t.Errorf("configuration %+v", cfg)
	}
	write("accouts: []\n")
	if _, err := configure([]string{"-config", file}); err == nil || !strings.Contains(err.Error(), "accouts") {
		t.Errorf("error = %v, want one that names the unknown field", err)
	}
}

// Flags make accounts with one key each.
func TestConfigure_ReadsFlags(t *testing.T) {
	t.Parallel()
	cfg, err := configure([]string{"-latency", "5ms-7ms", "-reset", "0.5", "-tokens", "10"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Latency != (apisim.Latency{Min: 5 * time.Millisecond, Max: 7 * time.Millisecond}) || cfg.Failures.Reset != 0.5 ||
		len(cfg.Accounts) != 1 || cfg.Accounts[0].Limits[0].Metric != apisim.Tokens {
		t.Errorf("configuration %+v", cfg)
	}
	for _, args := range [][]string{{"-latency", "soon"}, {"-latency", "1ms-later"}, {"extra"}, {"-config", "/no/such/file"}} {
		if _, err := configure(args); err == nil {
			t.Errorf("no error for %q", args)
		}
	}
}
