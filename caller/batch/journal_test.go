package batch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/caller/batch"
)

func put(t *testing.T, contents string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, []byte(contents), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A crash leaves a torn last line, or zeros in place of lines; all other lines stay.
func TestOpenJournal_MendsWhatACrashLeft(t *testing.T) {
	whole := `{"id":1}` + "\n"
	for name, tc := range map[string]struct {
		before, after string
		lines         int
	}{
		"empty":                   {"", "", 0},
		"whole":                   {whole + whole, whole + whole, 2},
		"torn in the record":      {whole + `{"id":2,"x":"a`, whole, 1},
		"torn before line break":  {whole + `{"id":2}`, whole + `{"id":2}` + "\n", 2},
		"broken with line break":  {whole + `{"id":2,` + "\n", whole, 1},
		"zeros after power fails": {whole + strings.Repeat("\x00", 5000), whole, 1},
		"torn inside a character": {whole + "{\"a\":\"\xc3", whole, 1},
		"only a torn line":        {`{"i`, "", 0},
		"zeros behind a record":   {whole + `{"id":2}` + "\x00\x00\x00", whole, 1},
		"zeros in the middle":     {whole + "{\"b\"\x00\x00\n" + whole, whole + strings.Repeat(" ", 6) + "\n" + whole, 2},
		"zeros before a record":   {whole + "\x00\x00{\"c\":1}\n" + whole, whole + strings.Repeat(" ", 9) + "\n" + whole, 2},
		"zeros at the beginning":  {"\x00\x00\n" + whole, "  \n" + whole, 1},
		"blank lines":             {whole + " \t\r\n\n" + whole + "  ", whole + " \t\r\n\n" + whole, 2},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, tc.before)
			var lines int
			j, err := batch.OpenJournal(path, func([]byte) error { lines++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if got := contents(t, path); got != tc.after || lines != tc.lines {
				t.Errorf("got %d lines, file %q, want %d, %q", lines, got, tc.lines, tc.after)
			}
			if err := errors.Join(j.Append([]byte(`{"id":9}`)), j.Close()); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, path); got != tc.after+`{"id":9}`+"\n" {
				t.Errorf("got %q after one more line, want it at the end", got)
			}
		})
	}
}

// A file that no journal wrote is an error, and stays as it is.
func TestOpenJournal_LeavesForeignFilesAlone(t *testing.T) {
	refuse := func([]byte) error { return errors.New("no custom_id") }
	accept := func([]byte) error { return nil }
	for name, tc := range map[string]struct {
		before string
		visit  func([]byte) error
		where  string
	}{
		"text":             {"Dear diary", accept, ":1: not a JSON object"},
		"broken in middle": {"{}\n{\n{}\n", accept, ":2: not a JSON object"},
		"lists":            {"[1,2]\n[3,", accept, ":1: not a JSON object"},
		"numbers":          {"100\n20", accept, ":1: not a JSON object"},
		"zeros, then text": {"{}\n\x00\nDear diary\n", accept, ":3: not a JSON object"},
		"other JSON":       {"{}\n", refuse, ":1: no custom_id"},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, tc.before)
			_, err := batch.OpenJournal(path, tc.visit)
			if err == nil || !strings.Contains(err.Error(), path+tc.where) {
				t.Errorf("got error %v, want %s", err, tc.where)
			}
			if got := contents(t, path); got != tc.before {
				t.Errorf("got file %q, want it unchanged", got)
			}
			if tc.where == ":1: no custom_id" {
				return // Filter doesn't visit
			}
			err = batch.Filter(path, func([]byte) bool { return true })
			if got := contents(t, path); err == nil || got != tc.before {
				t.Errorf("got error %v and file %q of Filter, want an error and the file unchanged", err, got)
			}
		})
	}
}

// A second process that opens the file gets ErrInUse.
func TestOpenJournal_LocksTheFile(t *testing.T) {
	path := put(t, "")
	accept := func([]byte) error { return nil }
	j, err := batch.OpenJournal(path, accept)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := batch.OpenJournal(path, accept); !errors.Is(err, batch.ErrInUse) {
		t.Errorf("got %v from a second OpenJournal, want ErrInUse", err)
	}
	if err := batch.Filter(path, func([]byte) bool { return true }); !errors.Is(err, batch.ErrInUse) {
		t.Errorf("got %v from Filter of an open journal, want ErrInUse", err)
	}
	for _, record := range []string{"{}\n{}", "", "5", "[1]"} {
		if err := j.Append([]byte(record)); err == nil {
			t.Errorf("Append(%q): got no error, want one", record)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// Filter keeps the chosen lines, and the permissions of the file.
func TestFilter_KeepsLinesAndMode(t *testing.T) {
	path := put(t, "{\"a\":1}\n{\"b\":2}\n{\"a\":3}\n{\"to")
	if err := batch.Filter(path, func(l []byte) bool { return strings.Contains(string(l), "a") }); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, path); got != "{\"a\":1}\n{\"a\":3}\n" || info.Mode().Perm() != 0o640 {
		t.Errorf("got mode %v, file %q, want 0640 and the lines with a", info.Mode(), got)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if err := batch.Filter(missing, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Error("got a new file, want none")
	}
}

// Take returns the state that an id had before.
func TestIDs_TellFreshFromDoneAndTaken(t *testing.T) {
	var ids batch.IDs
	ids.Done("old")
	for _, want := range []struct {
		id    string
		state batch.State
	}{
		{"new", batch.Fresh}, {"new", batch.Duplicate}, {"old", batch.Done}, {"old", batch.Duplicate}, {"", batch.Fresh},
	} {
		if got := ids.Take(want.id); got != want.state {
			t.Errorf("Take(%q): got %v, want %v", want.id, got, want.state)
		}
	}
	if ids.Len() != 3 {
		t.Errorf("got %d ids, want 3", ids.Len())
	}
}

// Blank lines and a byte order mark are left out, and long lines are errors.
func TestLines_SkipsBlankAndLongLines(t *testing.T) {
	in := "\xef\xbb\xbf{\"a\":1}\r\n\n" + strings.Repeat("x", 200_000) + "\n   \n\t\r\nlast\n \r\n  "
	var got []string
	for line, err := range batch.Lines(strings.NewReader(in), 100_000) {
		got = append(got, fmt.Sprintf("%d %s %v %v", line.Number, line.Text, line.Torn, err))
	}
	want := []string{
		`1 {"a":1} false <nil>`, "3  false line 3 is longer than 100000 bytes", "6 last false <nil>",
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzJournalAfterATear(f *testing.F) {
	f.Add("{\"a\":\"é\"}\n{\"b\":[1,2]}\n", 12)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		path := filepath.Join(t.TempDir(), "j")
		j, err := batch.OpenJournal(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := j.Append(fmt.Appendf(nil, `{"n":%d,"text":%q}`, i, fmt.Sprintf("%x", text))); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		whole := contents(t, path)
		at := min(max(cut, -cut, 0)%(len(whole)+1), len(whole))
		if err := os.Truncate(path, int64(at)); err != nil {
			t.Fatal(err)
		}
		var lines int
		j, err = batch.OpenJournal(path, func([]byte) error { lines++; return nil })
		if err != nil {
			t.Fatalf("cut at %d of %q: %v", at, whole, err)
		}
		defer j.Close()
		got := contents(t, path)
		if !strings.HasPrefix(whole, got) || strings.Count(got, "\n") != lines || lines < strings.Count(whole[:at], "\n") {
			t.Errorf("cut at %d: got %d lines, file %q, want the whole lines before the cut", at, lines, got)
		}
	})
}
