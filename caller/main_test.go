package caller_test

import (
	"os"
	"testing"

	"github.com/penstock/penstock/internal/redistest"
)

// TestMain runs the tests, or the process that a test has started (see ruling_process_test.go and stopped_test.go).
func TestMain(m *testing.M) {
	if at := os.Getenv(processEnv); at != "" {
		os.Exit(processMain(at))
	}
	redistest.Main(m, redistest.Programs{"askTwo": askTwo})
}
