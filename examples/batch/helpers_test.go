package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/data"
	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// canary stands in every secret, and must not appear in any output.
const canary = "canary"

func secret(i int) string { return fmt.Sprintf("sk-%s-%d", canary, i) }

func TestMain(m *testing.M) {
	for i := 1; i <= 3; i++ {
		os.Setenv(fmt.Sprintf("BATCH_KEY_%d", i), secret(i))
	}
	redistest.Main(m, redistest.Programs{"batch": func(args []string) error {
		os.Exit(command(args))
		return nil
	}})
}

// patience bounds a run, which takes seconds on a quiet machine.
const patience = 2 * time.Minute

var buildSim = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "apisim")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "apisim")
	out, err := exec.Command("go", "build", "-o", program, "github.com/penstock/penstock/internal/apisim/cmd/apisim").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// provider is a simulated provider in a process of its own.
type provider struct {
	t   *testing.T
	url string
}

// startProvider starts a provider with one account for each of the keys, each with the given limits.
func startProvider(t *testing.T, keys int, settings, limits string) *provider {
	t.Helper()
	program, err := buildSim()
	if err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	config.WriteString(settings + "\naccounts:\n")
	for i := 1; i <= keys; i++ {
		fmt.Fprintf(&config, "  - {id: a%d, keys: [{id: k%d, secret: %s}], %s}\n", i, i, secret(i), limits)
	}
	child := redistest.Command(t, exec.Command(program, "-config", write(t, "sim.yaml", config.String())))
	return &provider{t, child.Line()}
}

var quiet = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (p *provider) ledger() (l apisim.Ledger) {
	p.t.Helper()
	res, err := quiet.Get(p.url + "/sim/ledger")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&l); err != nil {
		p.t.Fatal(err)
	}
	return l
}

func (p *provider) order(path, body string) {
	p.t.Helper()
	res, err := quiet.Post(p.url+"/sim/"+path, "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s", path, res.Status)
	}
}

// pool writes a configuration for the provider; more is appended.
func (p *provider) pool(keys int, more string) string {
	var config strings.Builder
	fmt.Fprintf(&config, "name: test\nbase_url: %s\nprovider: openai\nkeys:\n", p.url)
	for i := 1; i <= keys; i++ {
		fmt.Fprintf(&config, "  - {id: k%d, secret: \"${BATCH_KEY_%d}\", account: a%d}\n", i, i, i)
	}
	return write(p.t, "pool.yaml", config.String()+more)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sampleRequests returns n lines with different custom_ids that begin with the prefix.
func sampleRequests(prefix string, n int) string {
	lines := bytes.Split(bytes.TrimSpace(data.Requests), []byte("\n"))
	var out strings.Builder
	for i := range n {
		_, rest, _ := bytes.Cut(lines[i%len(lines)], []byte(","))
		fmt.Fprintf(&out, `{"custom_id":"%s-%d",%s`+"\n", prefix, i, rest)
	}
	return out.String()
}

// task is a run of the program, with its files.
type task struct {
	t                       *testing.T
	config, in, out, errors string
	redis                   string
}

func newTask(t *testing.T, config, requests string) *task {
	dir := t.TempDir()
	return &task{t: t, config: config, in: write(t, "in.jsonl", requests),
		out: filepath.Join(dir, "out.jsonl"), errors: filepath.Join(dir, "failed.jsonl")}
}

func (k *task) start(more ...string) *redistest.Child {
	k.t.Helper()
	args := []string{"-config", k.config, "-in", k.in, "-out", k.out, "-errors", k.errors, "-json"}
	if k.redis != "" {
		args = append(args, "-redis", k.redis)
	}
	return redistest.Process(k.t, "batch", append(args, more...)...)
}

// finish waits for the program's end and returns its figures; it fails the test unless the exit code is the one wanted.
func (k *task) finish(c *redistest.Child, exitCode int) (s summary) {
	k.t.Helper()
	got := 0
	err := c.Wait(patience)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	}
	if got != exitCode {
		k.t.Fatalf("exit code %d, want %d; stderr:\n%s", got, exitCode, c.Stderr())
	}
	last := c.Line()
	if err := json.Unmarshal([]byte(last), &s); err != nil {
		k.t.Fatalf("%v: %s", err, last)
	}
	for _, text := range []string{last, c.Stderr(), read(k.t, k.out), read(k.t, k.errors)} {
		if strings.Contains(text, canary) {
			k.t.Errorf("a secret is shown: %s", text)
		}
	}
	k.t.Logf("%s", last)
	return s
}

func (k *task) run(exitCode int, more ...string) summary {
	k.t.Helper()
	return k.finish(k.start(more...), exitCode)
}

// answers returns the lines of a file by custom_id; it fails the test if one is there twice.
func answers(t *testing.T, path string) map[string]answer {
	t.Helper()
	all := make(map[string]answer)
	for in := bufio.NewScanner(strings.NewReader(read(t, path))); in.Scan(); {
		var a answer
		if err := json.Unmarshal(in.Bytes(), &a); err != nil {
			t.Fatalf("%s: %v: %s", path, err, in.Text())
		}
		id := fmt.Sprintf("line without custom_id: %d", len(all))
		if a.CustomID != nil {
			id = *a.CustomID
		}
		if _, twice := all[id]; twice {
			t.Errorf("%s: %s is there twice", path, id)
		}
		all[id] = a
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// waitForLines waits until the file has at least n lines.
func waitForLines(t *testing.T, path string, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%s has %d lines", path, n), func() bool { return strings.Count(read(t, path), "\n") >= n })
}
