package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"

	"github.com/penstock/penstock/caller/batch"
)

// maxLine is the longest request line, in bytes: OpenAI's own files are at most 200 MB in all.
const maxLine = 32 << 20

// request is one line of a Batch input file.
type request struct {
	Line     int             `json:"-"`
	CustomID string          `json:"custom_id"`
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Body     json.RawMessage `json:"body"`
}

// lineError is a line that can't be sent.
type lineError struct {
	file string
	line int
	code string
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.file, e.line, e.err) }

func (e *lineError) Unwrap() error { return e.err }

// requests yields the requests in r that no earlier run has done, and calls done for each of the others.
func requests(file string, r io.Reader, ids *batch.IDs, done func()) iter.Seq2[request, error] {
	return func(yield func(request, error) bool) {
		for line, err := range batch.Lines(r, maxLine) {
			req := request{Line: line.Number}
			fail := func(code string, err error) bool {
				return yield(req, &lineError{file, line.Number, code, err})
			}
			more := true
			if _, long := errors.AsType[*batch.LineTooLongError](err); err != nil && !long {
				fail("unreadable", err) // no line follows
				return
			}
			if err == nil {
				err = req.parse(line.Text)
			}
			if err != nil {
				if !fail("invalid_request", err) {
					return
				}
				continue
			}
			switch ids.Take(req.CustomID) {
			case batch.Done:
				done()
			case batch.Duplicate:
				more = fail("duplicate_custom_id", fmt.Errorf("custom_id %q is on an earlier line, too; give each request its own", req.CustomID))
			case batch.Fresh:
				more = yield(req, nil)
			}
			if !more {
				return
			}
		}
	}
}

// parse parses a line. Its error says what is wrong with the line.
func (r *request) parse(text []byte) error {
	if err := json.Unmarshal(text, r); err != nil {
		return fmt.Errorf("not a request in JSON: %w", err)
	}
	switch {
	case r.CustomID == "":
		return errors.New("custom_id is missing; answers are written in any order, and it identifies them")
	case r.Method != "POST":
		return errors.New(`method must be "POST"`)
	case len(r.Body) == 0 || r.Body[0] != '{':
		return errors.New("body must be an object: what is sent to the provider")
	}
	// Another host would get the API key.
	u, err := url.Parse(r.URL)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(r.URL, "/") || strings.HasPrefix(r.URL, "//") {
		return errors.New("url must be a path such as /v1/chat/completions; the host is base_url's in the configuration")
	}
	r.Body = bytes.Clone(r.Body)
	return nil
}

// countLines returns the number of lines in r that aren't white space alone.
func countLines(r io.Reader) (n int64, err error) {
	buf := make([]byte, 1<<20)
	blank, start := true, true
	for {
		k, err := r.Read(buf)
		text := buf[:k]
		if start && k > 0 {
			text, start = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), false
		}
		for _, part := range bytes.SplitAfter(text, []byte("\n")) {
			if len(bytes.TrimSpace(part)) > 0 {
				blank = false
			}
			if bytes.HasSuffix(part, []byte("\n")) {
				if !blank {
					n++
				}
				blank = true
			}
		}
		switch {
		case err == io.EOF && !blank:
			return n + 1, nil
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}
