//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// TestWatchdog_LeavesNothingOfATestBinary: however a test binary dies, its servers and their folders go with it.
func TestWatchdog_LeavesNothingOfATestBinary(t *testing.T) {
	t.Parallel()
	needServer(t)
	c := Process(t, "abandon")
	pid, err := strconv.Atoi(c.Expect("pid"))
	if err != nil {
		t.Fatal(err)
	}
	dir := c.Expect("dir")
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the server does not run: %v", err)
	}
	c.Kill9()
	eventually(t, "the server is gone", func() error {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("folder %s is left: %w", dir, err)
		}
		// If no process reaps orphans, the process stays as a zombie, which has no command line.
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) == 0 {
			return nil
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is left: %w", pid, err)
		}
		return nil
	})
}
