package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"
)

// body is what the gateway knows of a request's body.
type body struct {
	head  []byte // the beginning that is in memory
	whole bool   // head is all of it
	kind  string // media type
}

// readBody reads the beginning of the request's body into memory, and makes the body readable again if that is all of it.
// A large body that isn't needed to find the model stays unread, so that the provider can refuse it before it is sent.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, needModel bool) (*body, *refusal) {
	b := &body{kind: mediaType(r.Header)}
	if r.ContentLength > g.cfg.MaxBody {
		return nil, tooLarge(g.cfg.MaxBody)
	}
	if r.Body == nil || r.Body == http.NoBody {
		b.whole = true
		return b, nil
	}
	r.Body = http.MaxBytesReader(w, g.paced(w, r), g.cfg.MaxBody)
	if r.ContentLength > g.cfg.Buffer && b.kind != jsonType && !needModel {
		return b, nil
	}
	var err error
	if b.head, err = readHead(r.Body, r.ContentLength, g.cfg.Buffer); err != nil {
		return nil, unreadable(err, g.cfg.MaxBody)
	}
	b.whole = int64(len(b.head)) <= g.cfg.Buffer
	if b.kind == jsonType && r.Header.Get("Content-Encoding") == "" && !validUTF8(b.head, b.whole) {
		return nil, badRequest("the body isn't valid UTF-8: encode the JSON in UTF-8")
	}
	rest := r.Body
	if !b.whole {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(b.head), rest), rest}
		return b, nil
	}
	r.Header.Del("Expect") // the client has sent the body
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.head)), nil }
	r.Body, _ = r.GetBody()
	if r.ContentLength < 0 && len(r.Trailer) == 0 {
		r.ContentLength = int64(len(b.head))
	}
	if len(b.head) == 0 && len(r.Trailer) == 0 {
		r.Body, r.GetBody, r.ContentLength = http.NoBody, nil, 0
	}
	return b, nil
}

// readHead reads up to bound+1 bytes: one more than the bound shows that there is more.
func readHead(from io.Reader, length, bound int64) ([]byte, error) {
	if length < 0 {
		return io.ReadAll(io.LimitReader(from, bound+1))
	}
	head := make([]byte, min(length, bound+1))
	n, err := io.ReadFull(from, head)
	if err != nil || length > bound {
		return head[:n], err
	}
	// The end of the body is read, too: only then does the server notice that the client leaves.
	_, err = from.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head, err
}

// bodyFailure returns the refusal of a body that was too long or too slow, or nil for another error.
func bodyFailure(err error, most int64) *refusal {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(most)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &refusal{status: http.StatusRequestTimeout, code: "slow_body", text: "the body came too slowly: send it faster", end: true}
	}
	return nil
}

// unreadable returns the refusal of a body that can't be read.
func unreadable(err error, most int64) *refusal {
	if f := bodyFailure(err, most); f != nil {
		return f
	}
	return &refusal{
		status: http.StatusBadRequest, code: "bad_body", end: true,
		text: "the body can't be read: send all of it, with the right length",
	}
}

const (
	jsonType      = "application/json"
	multipartType = "multipart/form-data"
)

func mediaType(h http.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind, _, _ = strings.Cut(h.Get("Content-Type"), ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	if strings.HasSuffix(kind, "+json") {
		return jsonType
	}
	return kind
}

// validUTF8 reports whether text is UTF-8. Of a text that isn't whole the last character may be cut.
func validUTF8(text []byte, whole bool) bool {
	if utf8.Valid(text) {
		return true
	}
	for cut := 1; !whole && cut < utf8.UTFMax && cut < len(text); cut++ {
		end := text[len(text)-cut:]
		if !utf8.FullRune(end) && utf8.Valid(text[:len(text)-cut]) {
			return true
		}
	}
	return false
}
