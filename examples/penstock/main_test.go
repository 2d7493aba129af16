package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/status"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// execute runs the command, and returns its exit code and output.
func execute(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(testkit.Context(t), args, &o, &e)
	return code, o.String(), e.String()
}

// startPool returns the URL of a Redis with a pool "prod" of two keys, in which a process has made a call, and the pool.
func startPool(t *testing.T) (string, *caller.Pool, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t, redistest.WithTCP())
	pool, err := caller.New(server.Client(t), caller.Config{
		Name:   "prod",
		Keys:   []caller.Key{{ID: "k1", Secret: caller.NewSecret("secret-1"), Account: "org"}, {ID: "k2", Secret: caller.NewSecret("secret-2"), Account: "org"}},
		Limits: []caller.Limit{{Metric: caller.Requests, Rate: 100, Period: time.Minute}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close(testkit.Context(t)) })
	call(t, pool)
	url := "redis://" + server.Options().Addr
	testkit.Eventually(t, "a report of the process", func() bool {
		code, _, _ := execute(t, "keys", "-redis", url, "-pool", "prod")
		return code == 0
	})
	return url, pool, server
}

func call(t *testing.T, pool *caller.Pool) {
	t.Helper()
	nop := func(context.Context, *caller.Grant) (int, error) { return 0, nil }
	if _, err := caller.Do(testkit.Context(t), pool, nil, nop); err != nil {
		t.Fatal(err)
	}
}

// Each command that shows has a text and JSON.
func TestCommands_ShowThePool(t *testing.T) {
	url, _, _ := startPool(t)
	for command, want := range map[string]string{
		"inspect": "pool prod", "why": "no call waits", "keys": "ready", "limits": "100 requests per 1m0s",
	} {
		if code, out, errs := execute(t, command, "-redis", url, "-pool", "prod"); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: got code %d, %q and %q, want 0 and %q", command, code, out, errs, want)
		}
		code, out, _ := execute(t, command, "-redis", url, "-pool", "prod", "-json")
		if code != 0 || !json.Valid([]byte(out)) {
			t.Errorf("%s -json: got code %d and %q, want JSON", command, code, out)
		}
	}
}

// One command takes a leaked key out of use in a process that runs, and one puts it back; a status page serves as well as
// Redis.
func TestDisable_ReachesTheProcesses(t *testing.T) {
	url, pool, _ := startPool(t)
	const token = "token of the operators"
	page := httptest.NewServer(status.Handler(pool, status.AllowChanges(caller.NewSecret(token))))
	t.Cleanup(page.Close)
	for name, where := range map[string][]string{
		"redis": {"-redis", url, "-pool", "prod"}, "page": {"-url", page.URL, "-token", token},
	} {
		t.Run(name, func(t *testing.T) {
			do := func(command string, args ...string) {
				t.Helper()
				if code, _, errs := execute(t, append(append([]string{command}, where...), args...)...); code != 0 {
					t.Fatalf("%s: got code %d and %q, want 0", command, code, errs)
				}
			}
			do("disable", "-reason", "leaked", "k1")
			if k := state(t, pool, "k1"); k.Ready() || k.Reason != "leaked" {
				t.Errorf("k1 after disable: got %+v, want it disabled with the reason", k)
			}
			do("enable", "k1")
			if k := state(t, pool, "k1"); !k.Ready() {
				t.Errorf("k1 after enable: got %+v, want it ready", k)
			}
			do("pause")
			if k := state(t, pool, "k2"); k.Ready() {
				t.Errorf("k2 after pause: got %+v, want it disabled", k)
			}
			do("resume", "org")
			call(t, pool)
		})
	}
}

func state(t *testing.T, pool *caller.Pool, id string) caller.KeyState {
	t.Helper()
	s, err := pool.Inspect(testkit.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Keys {
		if k.ID == id {
			return k
		}
	}
	t.Fatalf("keys: got %+v, want %s among them", s.Keys, id)
	return caller.KeyState{}
}

// A mistake has an exit code of its kind and a message that says what to do.
func TestMistakes_SayWhatToDo(t *testing.T) {
	url, _, server := startPool(t)
	rdb := server.Client(t)
	ctx := testkit.Context(t)
	for _, user := range [][]any{
		{"acl", "setuser", "reader", "on", ">pw", "~penstock:*", "+hello", "+time", "+hgetall"},
		{"acl", "setuser", "nobody", "on", ">pw", "+hello"},
	} {
		if err := rdb.Do(ctx, user...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user string) string { return strings.Replace(url, "redis://", "redis://"+user+":pw@", 1) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, misused, "give a command"},
		{[]string{"inspct"}, misused, "no command"},
		{[]string{"keys", "-pool", "prod"}, misused, "-redis"},
		{[]string{"keys", "-redis", url}, misused, "-pool"},
		{[]string{"keys", "-redis", "http://:sk-secret@h", "-pool", "prod"}, misused, "isn't a URL"},
		{[]string{"keys", "-redis", "redis://127.0.0.1:1", "-pool", "prod"}, failed, "nothing listens"},
		{[]string{"keys", "-redis", as("reader:x"), "-pool", "prod"}, failed, "password"},
		{[]string{"keys", "-redis", as("nobody"), "-pool", "prod"}, failed, "ACL"},
		{[]string{"keys", "-redis", url, "-pool", "prd"}, notFound, "no process has reported"},
		{[]string{"disable", "-redis", url, "-pool", "prod"}, misused, "needs a KEY"},
		{[]string{"disable", "-redis", url, "-pool", "prod", "k3"}, notFound, "k1, k2"},
		{[]string{"pause", "-redis", url, "-pool", "prod", "orgs"}, notFound, "but org"},
		{[]string{"keys", "-url", "http://127.0.0.1:1"}, failed, "isn't reached"},
		{[]string{"inspect", "-redis", as("reader"), "-pool", "prod"}, 0, ""},
		{[]string{"disable", "-redis", as("reader"), "-pool", "prod", "k1"}, failed, ""},
	} {
		ctx, cancel := context.WithTimeout(ctx, 2*timeout+time.Second)
		var out, errs bytes.Buffer
		code := run(ctx, c.args, &out, &errs)
		cancel()
		if code != c.code || !strings.Contains(errs.String(), c.want) || strings.Contains(errs.String(), "sk-secret") {
			t.Errorf("%q: got code %d and %q, want %d and %q", c.args, code, errs.String(), c.code, c.want)
		}
	}
}

// The doctor is content with a Redis as it should be, and names what to change in one that isn't.
func TestDoctor_FindsWhatIsWrong(t *testing.T) {
	url, pool, server := startPool(t)
	if code, out, errs := execute(t, "doctor", "-redis", url, "-pool", "prod"); code != 0 {
		t.Errorf("got code %d, %s%s, want 0", code, out, errs)
	}
	rdb := server.Client(t)
	for _, set := range [][2]string{{"maxmemory", "100mb"}, {"maxmemory-policy", "allkeys-lru"}} {
		if err := rdb.ConfigSet(testkit.Context(t), set[0], set[1]).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := pool.Disable(testkit.Context(t), "k2", "leaked"); err != nil {
		t.Fatal(err)
	}
	code, out, _ := execute(t, "doctor", "-redis", url, "-pool", "prod")
	if code != failed || !strings.Contains(out, "noeviction") || !strings.Contains(out, "k2 is disabled: leaked") {
		t.Errorf("got code %d and %s, want %d, the eviction policy and the key", code, out, failed)
	}
}

// The view of a terminal follows until its context ends.
func TestWatch_FollowsUntilTheEnd(t *testing.T) {
	url, _, _ := startPool(t)
	ctx, cancel := context.WithCancel(testkit.Context(t))
	out := &lines{want: 2, done: cancel}
	if code := run(ctx, []string{"watch", "-redis", url, "-pool", "prod", "-json"}, out, &bytes.Buffer{}); code != 0 || out.n < 2 {
		t.Errorf("got code %d after %d states, want 0 after 2", code, out.n)
	}
}

// lines counts what is written, and calls done.
type lines struct {
	n, want int
	done    func()
}

func (l *lines) Write(p []byte) (int, error) {
	if l.n += bytes.Count(p, []byte("\n")); l.n >= l.want {
		l.done()
	}
	return len(p), nil
}
