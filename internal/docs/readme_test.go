// Package docs_test checks what the standing documents say: their Go code compiles, and what they point at exists.
package docs_test

import (
	"encoding/json"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// imports are the packages that a fragment may use without importing them.
var imports = []string{
	"context", "errors", "fmt", "io", "log", "log/slog", "net/http", "os", "strings", "time",
	"github.com/penstock/penstock/caller",
	"github.com/penstock/penstock/caller/batch",
	"github.com/penstock/penstock/caller/provider",
	"github.com/penstock/penstock/concurrency",
	"github.com/penstock/penstock/ratelimit",
	"github.com/penstock/penstock/retry",
}

// given are the variables that a fragment may use without declaring them.
const given = `ctx context.Context, rdb *redis.Client, pool *caller.Pool, err error,
	ask func(ctx context.Context, secret, prompt string) (string, error), work func(context.Context) error`

// TestReadme_GoCodeCompiles builds every Go block of the documents: whole programs as they are, fragments inside a function. The files
// exist only in the build's overlay, so that they are part of this module.
func TestReadme_GoCodeCompiles(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	list := filepath.Join(t.TempDir(), "overlay.json")
	args := []string{"build", "-o", os.DevNull, "-overlay", list}
	for _, doc := range documents(t) {
		text := read(t, doc)
		for i, block := range blocks(text, "go") {
			name := fmt.Sprintf("%s%d", strings.ToLower(strings.TrimSuffix(filepath.Base(doc), ".md")), i+1)
			path := filepath.Join(t.TempDir(), name+".go")
			write(t, path, program(t, block))
			overlay[filepath.Join(dir, "internal", "docs", name, "main.go")] = path
			args = append(args, "./internal/docs/"+name)
		}
	}
	if len(overlay) == 0 {
		t.Fatal("no Go code found")
	}
	files, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	write(t, list, string(files))
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestReadme_GoCodeIsFormatted holds the blocks to gofmt, with spaces for tabs as Markdown shows them.
func TestReadme_GoCodeIsFormatted(t *testing.T) {
	t.Parallel()
	for _, doc := range documents(t) {
		for _, block := range blocks(read(t, doc), "go") {
			want, err := format.Source([]byte(block))
			if err != nil {
				t.Errorf("%s: %v in\n%s", doc, err, block)
			} else if got := strings.TrimSpace(block); got != strings.TrimSpace(string(want)) {
				t.Errorf("%s: not formatted:\n%s\nwant\n%s", doc, got, want)
			}
		}
	}
}

var (
	fenced  = regexp.MustCompile("(?s)\n```.*?\n```\n")
	link    = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	example = regexp.MustCompile(`\./examples/[a-z]+`)
)

// TestReadme_ReferencesExist finds links to files, and commands that run examples, which don't exist.
func TestReadme_ReferencesExist(t *testing.T) {
	t.Parallel()
	for _, doc := range documents(t) {
		text := read(t, doc)
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, "\n"), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
		for _, m := range example.FindAllString(text, -1) {
			if _, err := os.Stat(filepath.Join(root, m)); err != nil {
				t.Errorf("%s names %s: %v", doc, m, err)
			}
		}
	}
}

// program makes a file of a fragment; a whole file stays as it is.
func program(t *testing.T, block string) string {
	t.Helper()
	if strings.HasPrefix(block, "package ") {
		return block
	}
	var file strings.Builder
	fmt.Fprintln(&file, "package fragment\nimport \"github.com/redis/go-redis/v9\"")
	for _, path := range imports {
		if word := regexp.MustCompile(`\b` + filepath.Base(path) + `\.`); word.MatchString(block + given) {
			fmt.Fprintf(&file, "import %q\n", path)
		}
	}
	fmt.Fprintf(&file, "func fragment(%s) error {\n{\n%s\n}\nreturn nil\n}\n", given, block)
	return file.String()
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) []string {
	parts := strings.Split(text, "\n```"+language+"\n")[1:]
	for i, part := range parts {
		code, _, _ := strings.Cut(part, "\n```")
		parts[i] = code + "\n"
	}
	return parts
}

func documents(t *testing.T) []string {
	t.Helper()
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(filepath.Join(root, "*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return append(top, below...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
