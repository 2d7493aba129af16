package redistest

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// ServerVariable is the environment variable that names the redis-server to test on, such as another version or Valkey.
// Sentinels run by it, too.
const ServerVariable = "PENSTOCK_REDIS_SERVER"

// binary is the redis-server to run: a path, or a name to be found in PATH.
func binary() string { return cmp.Or(os.Getenv(ServerVariable), "redis-server") }

const howToInstall = "install it with `apt-get install redis-server`, `brew install redis` or your system's like"

// skipped counts the tests that were skipped without redis-server.
var skipped atomic.Int64

// needServer ends the test if there is no redis-server: as failed where CI is set or one was named, else as skipped.
func needServer(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath(binary())
	switch {
	case err == nil:
	case os.Getenv(ServerVariable) != "":
		t.Fatalf("%s: %v", ServerVariable, err)
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not in PATH, and CI is set: %s", binary(), howToInstall)
	default:
		skipped.Add(1)
		t.Skipf("%s is not in PATH: %s", binary(), howToInstall)
	}
}

// reportSkipped writes how many tests were skipped. go test hides the output of a package that passes, so the line goes
// to the terminal where there is one, and else where -v shows it.
func reportSkipped() {
	n := skipped.Load()
	if n == 0 {
		return
	}
	out, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		out = os.Stderr
	} else {
		defer out.Close()
	}
	fmt.Fprintf(out, "%s: %d tests skipped, they need %s: %s\n", filepath.Base(os.Args[0]), n, binary(), howToInstall)
}
