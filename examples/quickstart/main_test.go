package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/machine"
	"github.com/penstock/penstock/examples/internal/report"
	"github.com/penstock/penstock/internal/redistest"
)

func TestMain(m *testing.M) {
	redistest.Main(m, redistest.Programs{"quickstart": func([]string) error {
		main()
		return nil
	}})
}

// Without flags the program runs on an embedded Redis.
func TestQuickstart_RunsOnAnEmbeddedRedis(t *testing.T) {
	t.Parallel()
	check(t, redistest.Process(t, "quickstart", "-json"))
}

// With -redis the replicas share that Redis.
func TestQuickstart_RunsOnARealRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	c := redistest.Process(t, "quickstart", "-redis", "redis://"+server.Addr())
	if err := c.Wait(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := c.Expect("1,000 requests:"); !strings.HasPrefix(got, "1,000 succeeded, 0 failed") {
		t.Errorf("1,000 requests: %s", got)
	}
	for _, name := range []string{"  429s received", "  429s sent", "  answered twice, not because of a 503"} {
		if got := c.Expect(name); got != "0" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// check checks the figures of a run with -json.
func check(t *testing.T, c *redistest.Child) {
	t.Helper()
	watch := machine.Start(t)
	if err := c.Wait(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	busy := watch.Busy(t)
	line := c.Line()
	t.Log(line)
	var s report.Summary
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if s.Requests != 1000 || s.Succeeded != 1000 || s.Failed != 0 || s.Throttled != 0 {
		t.Error("requests were lost, or a limit was exceeded")
	}
	if s.Utilization < 0.9 && !busy || s.Retries == 0 || s.P50 < 30 || s.P95 < s.P50 || s.P99 < s.P95 {
		t.Error("figures out of range")
	}
	if text := line + c.Stderr(); strings.Contains(text, "sk-demo") {
		t.Errorf("a secret is shown: %s", text)
	}
}

// An interrupted program ends early and says so.
func TestQuickstart_EndsOnInterrupt(t *testing.T) {
	t.Parallel()
	c := redistest.Process(t, "quickstart")
	c.Expect("Each account allows")
	time.Sleep(time.Second) // so that the run has begun
	c.Signal(os.Interrupt)
	exit, ok := errors.AsType[*exec.ExitError](c.Wait(time.Minute))
	if !ok || exit.ExitCode() != 1 || !strings.Contains(c.Stderr(), "requests were lost") {
		t.Errorf("%v\n%s", exit, c.Stderr())
	}
}
