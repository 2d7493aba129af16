package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The doctor names each key and what the provider says of it, and never a secret.
func TestDoctor_ChecksTheKeys(t *testing.T) {
	url, _, _ := startPool(t)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/models" || r.Header.Get("Authorization") != "Bearer sk-canary-good" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(provider.Close)
	file := filepath.Join(t.TempDir(), "pool.yaml")
	yaml := "name: prod\nprovider: openai\nbase_url: " + provider.URL +
		"\nkeys:\n  - {id: k1, secret: sk-canary-good, account: org}\n  - {id: k2, secret: sk-canary-bad, account: org}\n"
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := execute(t, "doctor", "-redis", url, "-check-keys", "-config", file)
	if code != failed || !strings.Contains(out, "k1: works (200") || !strings.Contains(out, "k2: refused (401)") {
		t.Errorf("got code %d and %s%s, want %d, k1 to work and k2 refused", code, out, errs, failed)
	}
	if strings.Contains(out+errs, "canary") {
		t.Errorf("got %s%s, want no secret in it", out, errs)
	}
	if code, _, _ := execute(t, "doctor", "-redis", url, "-check-keys"); code != misused {
		t.Errorf("without -config: got code %d, want %d", code, misused)
	}
}
