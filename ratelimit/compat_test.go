package ratelimit_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/stretchr/testify/require" // redis_rate's test file needs it; go.mod must keep it

	"github.com/penstock/penstock/internal/redistest"
)

const (
	peerModule = "github.com/go-redis/redis_rate/v10"
	peerImport = `"github.com/go-redis/redis_rate/v10"`
	ourImport  = `redis_rate "github.com/penstock/penstock/ratelimit"`
)

// TestCompat_PassesRedisRateTests runs redis_rate's own test file, from the module cache, against this package.
// Only the import path is changed. The file dials port 6379.
func TestCompat_PassesRedisRateTests(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a test binary")
	}
	dir := goCommand(t, "list", "-m", "-f", "{{.Dir}}", peerModule)
	source, err := os.ReadFile(filepath.Join(dir, "rate_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), peerImport); n != 1 {
		t.Fatalf("redis_rate's test file has its import path %d times, want once", n)
	}
	changed := strings.Replace(string(source), peerImport, ourImport, 1)

	tmp := t.TempDir()
	file := filepath.Join(tmp, "rate_test.go")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(tmp, "rate.test")
	goCommand(t, "test", "-c", "-o", binary, file)

	listenAtDefaultPort(t)
	out, err := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run=^Test").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := strings.Count(string(out), "--- PASS: "); n != 5 {
		t.Fatalf("%d tests passed, want 5:\n%s", n, out)
	}
}

func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// listenAtDefaultPort relays port 6379 to a Redis server of the test's own.
func listenAtDefaultPort(t *testing.T) {
	t.Helper()
	server := redistest.Start(t)
	listener, err := net.Listen("tcp", "127.0.0.1:6379")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("port 6379 is needed: %v", err)
		}
		t.Skipf("port 6379 is taken, and a stranger's Redis there must not be flushed: %v", err)
	}
	relay(t, listener, server.Socket())
}
