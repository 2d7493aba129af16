package ratelimit_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/throttled/throttled/v2" // its test file runs here; go.mod must keep it
	_ "go.uber.org/ratelimit"             // likewise
)

// foreignSuite is a test file of another module that runs on an adapter of its API to this package.
type foreignSuite struct {
	module  string
	file    string            // of the module
	adapter string            // directory of the package that takes the place of the module's
	imports map[string]string // imports of the file that are replaced
	tests   []string          // those that map; leftOut has the others
	leftOut map[string]string // with the reason
}

const foreignDir = "testdata/foreign"

var foreignSuites = []foreignSuite{
	{
		module: "golang.org/x/time", file: "rate/rate_test.go", adapter: "rate",
		tests: []string{
			"TestLimit", "TestEvery", "TestLimiterBurst1", "TestLimiterBurst3", "TestLimiter_noTruncationErrors",
			"TestSimultaneousRequests", "TestLongRunningQPS", "TestSimpleReserve", "TestMix", "TestCancelInvalid",
			"TestCancelLast", "TestCancelTooLate", "TestCancel1Token", "TestCancelMulti",
			"TestReserveMax", "TestWaitSimple", "TestWaitCancel", "TestWaitTimeout", "TestWaitInf", "TestZeroLimit",
			"TestTinyLimit",
		},
		leftOut: map[string]string{
			"TestCancel0Tokens":         "a cancelled booking comes back here if the later one permits it, and not there",
			"TestLimiterJumpBackwards":  "a limit refills twice there after its clock went back",
			"TestReserveJumpBack":       "likewise",
			"TestReserveJumpBackCancel": "likewise",
			"TestReserveSetLimit":       "consumption is kept in units there, and as time here",
			"TestReserveSetBurst":       "likewise",
			"TestReserveSetLimitCancel": "likewise",
			"TestSetAfterZeroLimit":     "likewise",
		},
	},
	{
		module: "github.com/throttled/throttled/v2", file: "rate_test.go", adapter: "throttled",
		imports: map[string]string{
			"github.com/throttled/throttled/v2":                foreignImport("throttled"),
			"github.com/throttled/throttled/v2/store/memstore": foreignImport("throttled/memstore"),
		},
		tests: []string{"TestRateLimit", "TestRateLimitCustomPeriod"},
		leftOut: map[string]string{
			"TestRateLimitUpdateFailures":                       "there is no store whose updates fail",
			"TestRateLimitUpdateFailuresWithRetryLimitSetToTwo": "likewise",
			"TestRateLimitPeekReturnsRetryAfter":                "Peek takes nothing and so is never refused",
		},
	},
	{
		module: "go.uber.org/ratelimit", file: "ratelimit_test.go", adapter: "uber",
		imports: map[string]string{"github.com/benbjohnson/clock": foreignImport("uber/clock")},
		tests:   []string{"TestRateLimiter", "TestDelayedRateLimiter", "TestInitial"},
		leftOut: map[string]string{
			"TestSlack":     "slack is empty at first there, and a burst is full here",
			"TestMaxSlack":  "likewise",
			"TestPer":       "its eighth unit comes 3 ns before the minute ends, and Redis' clock counts microseconds",
			"TestUnlimited": "it gives a thousand calls a millisecond of real time",
		},
	},
}

func foreignImport(adapter string) string {
	return "github.com/penstock/penstock/ratelimit/" + foreignDir + "/" + adapter
}

// TestForeign_PassesTestsOfOtherLimiters runs the test files of other rate limiters, from the module cache, against adapters. Only
// imports are changed. A test that is neither run nor left out for a reason fails.
func TestForeign_PassesTestsOfOtherLimiters(t *testing.T) {
	if testing.Short() {
		t.Skip("builds test binaries")
	}
	for _, s := range foreignSuites {
		t.Run(s.adapter, func(t *testing.T) {
			binary := s.build(t)
			s.covers(t, binary)
			out, err := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run=^("+strings.Join(s.tests, "|")+")$").
				CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count("\n"+string(out), "\n--- PASS: "); n != len(s.tests) {
				t.Fatalf("got %d tests passed, want %d:\n%s", n, len(s.tests), out)
			}
		})
	}
}

// build returns the path of a test binary.
func (s *foreignSuite) build(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(goCommand(t, "list", "-m", "-f", "{{.Dir}}", s.module), s.file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(source)
	for from, to := range s.imports {
		if n := strings.Count(text, `"`+from+`"`); n != 1 {
			t.Fatalf("the file imports %s %d times, want once", from, n)
		}
		text = strings.Replace(text, `"`+from+`"`, `"`+to+`"`, 1)
	}
	tmp := t.TempDir()
	file := filepath.Join(tmp, "foreign_test.go")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	adapter, err := filepath.Abs(filepath.Join(foreignDir, s.adapter))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(adapter, "foreign_test.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(tmp, "foreign.test")
	goCommand(t, "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", binary, "./"+foreignDir+"/"+s.adapter)
	return binary
}

// covers checks that each test of the file is run, or left out for a reason.
func (s *foreignSuite) covers(t *testing.T, binary string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, "-test.list=^Test").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range s.tests {
		known[name] = true
	}
	for name := range s.leftOut {
		known[name] = true
	}
	for name := range strings.Lines(string(out)) {
		if name = strings.TrimSpace(name); !known[name] {
			t.Errorf("%s is neither run nor left out for a reason", name)
		}
		delete(known, name)
	}
	for name := range known {
		t.Errorf("%s is gone from %s", name, s.module)
	}
}
