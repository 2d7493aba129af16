package concurrency

import (
	"os"
	"testing"

	"github.com/penstock/penstock/internal/redistest"
)

// TestMain runs the tests, or the process that a test has started (see process_test.go).
func TestMain(m *testing.M) {
	if os.Getenv(processEnv) != "" {
		os.Exit(processMain())
	}
	redistest.Main(m)
}
