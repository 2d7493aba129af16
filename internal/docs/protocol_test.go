package docs_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/redistest"
)

// TestProtocol_CommandsPrintWhatItSays runs every command of PROTOCOL.md, in order, and compares what it prints with what stands there.
func TestProtocol_CommandsPrintWhatItSays(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	if _, err := exec.LookPath("redis-cli"); err != nil {
		t.Skip("needs redis-cli: install redis-tools")
	}
	doc := root + "/scripts/PROTOCOL.md"
	var variables strings.Builder
	for _, block := range blocks(read(t, doc), "console") {
		for _, step := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			if !strings.HasPrefix(command, "redis-cli ") {
				variables.WriteString(command + "\n")
				continue
			}
			script := variables.String() + strings.Replace(command, "redis-cli", "redis-cli -s "+server.Socket(), 1)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
			cmd.Dir = root
			if got, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
				t.Errorf("%s\nprints (%v)\n%s\nand not\n%s", command, err, got, want)
			}
		}
	}
	if variables.String() == "" {
		t.Errorf("no commands in %s", doc)
	}
}
