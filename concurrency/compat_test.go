package concurrency

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/redistest"
)

const (
	xsyncModule = "golang.org/x/sync"
	xsyncImport = `"golang.org/x/sync/semaphore"`
	ourImport   = `semaphore "github.com/penstock/penstock/concurrency/testdata/weighted"`
)

// golang.org/x/sync/semaphore's own test file, from the module cache, passes on a Semaphore. Only its import is changed, to
// a package that constructs semaphores and keeps their leases.
func TestXSync_OwnTestsPass(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a test binary")
	}
	dir := goCommand(t, "list", "-m", "-f", "{{.Dir}}", xsyncModule)
	source, err := os.ReadFile(filepath.Join(dir, "semaphore", "semaphore_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), xsyncImport); n != 1 {
		t.Fatalf("imports of x/sync/semaphore in its test file: got %d, want 1", n)
	}
	tmp := t.TempDir()
	file, binary := filepath.Join(tmp, "semaphore_test.go"), filepath.Join(tmp, "semaphore.test")
	if err := os.WriteFile(file, []byte(strings.Replace(string(source), xsyncImport, ourImport, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	goCommand(t, "test", "-c", "-o", binary, file)
	opts := redistest.Client(t).Options()
	for args, passes := range map[string]int{
		"-test.run=^Test": 11, // each test once
		"-test.run=^(TestWeightedAcquireCanceled|TestAllocCancelDoesntStarve|TestWeightedTryAcquire)$ -test.count=100": 300,
	} {
		cmd := exec.CommandContext(t.Context(), binary, append(strings.Fields(args), "-test.v", "-test.timeout=120s")...)
		cmd.Env = append(os.Environ(), "WEIGHTED_NETWORK="+opts.Network, "WEIGHTED_ADDR="+opts.Addr, "WEIGHTED_DB="+strconv.Itoa(opts.DB))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: got %v, want success\n%s", args, err, out)
		}
		if n := strings.Count(string(out), "--- PASS: "); n != passes {
			t.Fatalf("%s: got %d passed tests, want %d:\n%s", args, n, passes, out)
		}
	}
}

// goCommand runs the go command and returns its output.
func goCommand(t *testing.T, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
