package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/testkit"
)

const clientToken = "token-0123456789abcdef"

// A client's caps are changed by SIGHUP and by the file, and what it has used stays counted.
func TestGateway_ReloadsCaps(t *testing.T) {
	t.Parallel()
	for _, watch := range []string{"0", "20ms"} {
		t.Run("watch "+watch, func(t *testing.T) {
			t.Parallel()
			sim := simulator(t, time.Millisecond)
			tokens := filepath.Join(t.TempDir(), "tokens")
			if err := os.WriteFile(tokens, []byte(clientToken), 0o600); err != nil {
				t.Fatal(err)
			}
			file := ""
			configure := func(caps string) {
				file = write(t, file, sim.URL(), fmt.Sprintf("clients: [{name: a, token_file: %s, per_day: %s}]\n", tokens, caps))
			}
			configure("{requests: 2}")
			g := start(t, "-config", file, "-watch", watch)
			status := func() (int, string) {
				return get(t, "POST", g.url+"/v1/chat/completions", chat, "Authorization", "Bearer "+clientToken)
			}
			for _, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
				if s, text := status(); s != want {
					t.Fatalf("got %d %s, want %d", s, text, want)
				}
			}
			reload := func(caps, log string) {
				configure(caps)
				if watch == "0" {
					g.Signal(syscall.SIGHUP)
				}
				testkit.Eventually(t, log, func() bool { return strings.Contains(g.Stderr(), log) })
			}
			reload("{requests: -1}", "stays as it is")
			if s, text := status(); s != http.StatusTooManyRequests {
				t.Errorf("got %d %s after a broken change, want 429 as before", s, text)
			}
			reload("{requests: 3}", "is in use")
			var s int
			var text string
			testkit.Eventually(t, "the third call fits", func() bool { s, text = status(); return s == http.StatusOK })
			if s, text = status(); s != http.StatusTooManyRequests {
				t.Errorf("got %d %s, want 429 for the fourth call of the day", s, text)
			}
			for _, want := range []string{
				`penstock_client_requests_total{client="a",refused=""} 3`, `penstock_client_requests_total{client="a",refused="client_cap"}`,
				`penstock_client_tokens_total{client="a",direction="input"}`, `penstock_calls_total{`,
			} {
				testkit.Eventually(t, "the metrics have "+want, func() bool {
					_, text = get(t, "GET", g.admin+"/metrics", "")
					return strings.Contains(text, want)
				})
			}
			testkit.Eventually(t, "the page has the client", func() bool {
				_, text = get(t, "GET", g.admin+"/status/p/state.json", "")
				return strings.Contains(text, `"name":"a","model":"gpt-4o","requests":3`)
			})
		})
	}
}

// A list of pools is read in block style and in flow style, and errors show no secret.
func TestFile_ReadsPoolsInBothStyles(t *testing.T) {
	t.Parallel()
	const pool = "name: %s, base_url: 'https://h', provider: openai, keys: [{id: k, secret: '${KEY}'}], limits: [{metric: requests, rate: 1_000, period: 60s}]"
	a, b := "{"+fmt.Sprintf(pool, "a")+"}", "{"+fmt.Sprintf(pool, "b")+"}"
	block := strings.NewReplacer(", base_url", "\n  base_url", ", provider", "\n  provider", ", keys", "\n  keys", ", limits", "\n  limits")
	lookup := func(string) (string, bool) { return canary, true }
	for name, text := range map[string]string{
		"block":        "pools:\n- " + block.Replace(fmt.Sprintf(pool, "a")) + "\n- " + block.Replace(fmt.Sprintf(pool, "b")),
		"flow items":   "pools:\n  - " + a + "\n  - " + b,
		"flow":         "pools: [" + a + ", " + b + "]",
		"flow, lines":  "pools: # two\n  [\n    " + a + ",\n    " + b + ",\n  ]",
		"flow, routes": "routes: [{pool: b}]\npools: [" + a + ",\n " + b + "]\nclients: [{name: c, token: '${TOKEN}'}]",
	} {
		s, err := readFile("f.yaml", []byte(text+"\n"), lookup)
		if err != nil {
			t.Errorf("%s: got %v, want two pools", name, err)
			continue
		}
		if len(s.pools) != 2 || s.pools[0].Caller.Name != "a" || s.pools[1].Caller.Name != "b" || s.pools[1].Caller.Keys[0].Secret.Reveal() != canary || s.pools[0].Caller.Limits[0].Rate != 1000 {
			t.Errorf("%s: got %d pools, want a and b as they stand there", name, len(s.pools))
		}
	}
	for _, text := range []string{"pools: [{name: a, secret: sk-very-secret]", "pools: []", "pools: [{name: a, keys: [{id: k, secret: sk-very-secret, wrong: 1}]}]"} {
		if _, err := readFile("f.yaml", []byte(text), lookup); err == nil || strings.Contains(err.Error(), "very-secret") {
			t.Errorf("%s: got %v, want an error without the secret", text, err)
		}
	}
}

// Shares of clients make them tenants of all pools, and a pool with tenants of its own is refused.
func TestFile_MakesClientsTenants(t *testing.T) {
	t.Parallel()
	lookup := func(string) (string, bool) { return canary, true }
	const pool = "name: p\nbase_url: https://h\nprovider: openai\nkeys: [{id: k, secret: '${KEY}'}]\n"
	const clients = "clients: [{name: a, token: '${A}', share: 3}, {name: b, token: '${B}', guaranteed: 0.2}]\n"
	s, err := readFile("f.yaml", []byte(pool+clients), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(s.pools[0].Caller.Tenants), "[{a 3 0} {b 0 0.2}]"; got != want {
		t.Errorf("got tenants %s, want %s", got, want)
	}
	if _, err := readFile("f.yaml", []byte(pool+"tenants: [{id: a}]\n"+clients), lookup); err == nil || !strings.Contains(err.Error(), "tenants") {
		t.Errorf("got %v for tenants and shares, want an error", err)
	}
}
