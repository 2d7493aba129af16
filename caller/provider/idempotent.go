package provider

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

// maxPeek bounds the body that is read to see whether a request is idempotent, in bytes.
const maxPeek = 4 << 20

// idempotent follows net/http's rule, and adds the POST requests whose paths end in one of the given ways: those compute
// an answer and leave nothing behind. Others create files or jobs, and would create them twice.
func idempotent(endings ...string) func(*http.Request) bool {
	return func(r *http.Request) bool { return caller.IsIdempotent(r) || posts(r, endings...) }
}

// posts reports whether a request is a POST to a path with one of the endings.
func posts(r *http.Request, endings ...string) bool {
	return r.Method == http.MethodPost && r.URL != nil && slices.ContainsFunc(endings, func(ending string) bool {
		return strings.HasSuffix(strings.TrimSuffix(r.URL.Path, "/"), ending)
	})
}

// idempotentOpenAI is idempotent without the responses that leave something behind: a turn of a conversation, or a job in
// the background.
func idempotentOpenAI(endings ...string) func(*http.Request) bool {
	rule := idempotent(endings...)
	return func(r *http.Request) bool {
		return rule(r) && (caller.IsIdempotent(r) || !posts(r, "/responses") || !leavesSomething(r))
	}
}

// leavesSomething reads a copy of the body, which GetBody has in memory.
func leavesSomething(r *http.Request) bool {
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return true
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(io.LimitReader(body, maxPeek))
	return err != nil || !nothing(at(text, "conversation")) || !nothing(at(text, "background"))
}
