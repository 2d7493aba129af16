package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/caller/config"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// A mistake is reported before anything is sent, and no file changes.
func TestBatch_RefusesMistakesAtTheStart(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }))
	t.Cleanup(server.Close)
	good := "name: p\nbase_url: " + server.URL + "\nkeys:\n  - {id: k1, secret: \"${BATCH_KEY_1}\"}\n"
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	in, ok := file("in.jsonl", sampleRequests("r", 3)), file("ok.yaml", good)
	diary := file("diary.txt", "Dear diary\n")
	out := filepath.Join(dir, "out.jsonl")

	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing given":     {nil, "-config, -in and -out are required"},
		"unknown flag":      {[]string{"-confg", ok}, "not defined: -confg"},
		"stray argument":    {[]string{"-config", ok, "-in", in, "-out", out, "x"}, `unexpected argument "x"`},
		"workers":           {[]string{"-config", ok, "-in", in, "-out", out, "-workers", "0"}, "-workers must be from 1"},
		"no config":         {[]string{"-config", "none.yaml", "-in", in, "-out", out}, "none.yaml: no such file"},
		"no input":          {[]string{"-config", ok, "-in", "none.jsonl", "-out", out}, "none.jsonl: no such file"},
		"same file":         {[]string{"-config", ok, "-in", in, "-out", in}, "must be three different files"},
		"same outputs":      {[]string{"-config", ok, "-in", in, "-out", out, "-errors", out}, "must be three different files"},
		"somebody's file":   {[]string{"-config", ok, "-in", in, "-out", diary}, "diary.txt:1: not a JSON object; is this the right file?"},
		"somebody's errors": {[]string{"-config", ok, "-in", in, "-out", out, "-errors", diary}, "diary.txt:1: not a JSON object; is this the right file?"},
		"patience":          {[]string{"-config", ok, "-in", in, "-out", out, "-patience", "0s"}, "-patience must be a positive time"},
		"other JSON":        {[]string{"-config", ok, "-in", in, "-out", file("x.jsonl", in2)}, "x.jsonl:1: not a line of Batch output"},
		"foreign errors":    {[]string{"-config", ok, "-in", in, "-out", out, "-errors", file("y.jsonl", in2)}, "y.jsonl:1: not a line of Batch output"},
		"unset variable":    {[]string{"-config", file("v.yaml", strings.Replace(good, "KEY_1", "KEY_9", 1)), "-in", in, "-out", out}, "v.yaml:4:22: keys[0].secret: environment variable BATCH_KEY_9 is not set"},
		"unknown field":     {[]string{"-config", file("u.yaml", good+"limit: 5\n"), "-in", in, "-out", out}, `u.yaml:5:1: unknown field "limit"`},
		"limit":             {[]string{"-config", file("l.yaml", good+"limits: [{metric: requests, rate: 0, period: 1s}]\n"), "-in", in, "-out", out}, "l.yaml:5:35: limits[0].rate: must be a whole number from 1"},
		"secret as a name":  {[]string{"-config", file("s.yaml", good+"provider: ${BATCH_KEY_1}\n"), "-in", in, "-out", out}, "s.yaml:5:11: provider: unknown provider"},
		"not a Redis":       {[]string{"-config", ok, "-in", in, "-out", out, "-redis", "redis://:" + canary + "@127.0.0.1:1"}, "no answer from the Redis at 127.0.0.1:1"},
		"not a URL":         {[]string{"-config", ok, "-in", in, "-out", out, "-redis", "redis://u:" + canary + "/x@h"}, "-redis is not a URL such as"},
		"not a Redis's URL": {[]string{"-config", ok, "-in", in, "-out", out, "-redis", "http://" + canary}, "-redis is not a URL such as"},
	} {
		t.Run(name, func(t *testing.T) {
			c := redistest.Process(t, "batch", tc.args...)
			if code := exitCode(t, c); code != exitBroken || !strings.Contains(c.Stderr(), tc.want) {
				t.Errorf("got exit code %d and\n%s, want %d and %q", code, c.Stderr(), exitBroken, tc.want)
			}
			if strings.Contains(c.Stderr(), canary) {
				t.Error("got a secret in the messages, want none")
			}
		})
	}
	if sent.Load() != 0 || read(t, diary) != "Dear diary\n" || read(t, filepath.Join(dir, "y.jsonl")) != in2 {
		t.Error("got something sent or overwritten, want nothing")
	}
}

const in2 = `{"custom_id":"a","method":"POST"}` + "\n"

// The README's command has the name of the sample alone, and runs in the module's directory.
func TestFindConfig_FindsTheSample(t *testing.T) {
	t.Chdir("../..")
	for file, want := range map[string]string{
		"pool.yaml": filepath.Join("examples", "batch", "pool.yaml"), "./none/pool.yaml": "./none/pool.yaml", "none.yaml": "none.yaml",
		"README.md": "README.md",
	} {
		if got := findConfig(file); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
}

// The sample configuration is valid.
func TestBatch_AcceptsItsSample(t *testing.T) {
	t.Parallel()
	src := read(t, "pool.yaml")
	pool, err := config.Parse("pool.yaml", []byte(src), func(name string) (string, bool) {
		return "sk-of-" + name, strings.HasPrefix(name, "OPENAI_KEY_")
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := pool.Caller; len(c.Keys) != 2 || len(c.Limits) != 2 || c.Concurrency != 20 || c.Retry.Attempts != 5 {
		t.Errorf("%+v", c)
	}
}

// A second process with the same files ends at once.
func TestBatch_LocksItsFiles(t *testing.T) {
	t.Parallel()
	p := startProvider(t, 1, "latency: {min: 5m}", "concurrency: 5")
	k := newTask(t, p.pool(1, ""), sampleRequests("r", 3))
	k.start()
	testkit.Eventually(t, "the first has begun", func() bool { return p.ledger().Admitted() > 0 })
	second := k.start()
	if code := exitCode(t, second); code != exitBroken || !strings.Contains(second.Stderr(), "another process is writing") {
		t.Errorf("got exit code %d and\n%s, want %d and the reason", code, second.Stderr(), exitBroken)
	}
}

// Lines of white space alone don't count, nor does a byte order mark.
func TestCountLines_LeavesOutBlankLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"": 0, "\n\r\n": 0, "  \n\t\n ": 0, "\xef\xbb\xbf\na\n": 1, "a\n   \n\t\nb\n \r\n": 2, "a": 1, "a\n": 1, "a\n\nb": 2, "a\r\nb\r\n": 2} {
		if got, err := countLines(strings.NewReader(text)); got != want || err != nil {
			t.Errorf("%q: got %d, error %v, want %d", text, got, err, want)
		}
	}
}
