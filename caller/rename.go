package caller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// rename is the model of a request and its name in the granted account.
type rename struct {
	model string // of the call
	named string // as the request names it; empty: the profile doesn't find it
	there string // in the account
}

// apply writes the model's name in the account to where the request names the model: its path, its body, or both.
func (n rename) apply(r *http.Request) error {
	if n.there == n.model || n.model == "" {
		return nil
	}
	inPath := n.inPath(r.URL)
	if !hasBody(r) {
		return nil
	}
	if inPath && !mayBeJSON(r) {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return fmt.Errorf("read the request's body: %w", err)
	}
	changed, found, err := setModel(body, n.there)
	switch {
	case inPath && (err != nil || !found):
		changed = body
	case err != nil:
		return fmt.Errorf("the model's name in the account differs, and the request's body isn't a JSON object: %w", err)
	case !found:
		return errors.New("the model's name in the account differs, and neither path nor body of the request has the model")
	}
	setBody(r, changed)
	return nil
}

// mayBeJSON reports whether a request says that its body is JSON, or nothing about it.
func mayBeJSON(r *http.Request) bool {
	kind := r.Header.Get("Content-Type")
	return kind == "" || strings.Contains(kind, "json")
}

// setBody sets the body of a request.
func setBody(r *http.Request, body []byte) {
	r.ContentLength = int64(len(body))
	r.Header.Del("Content-Length")
	r.TransferEncoding = nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body = io.NopCloser(bytes.NewReader(body))
}

// modelParents are the segments of paths that a model's name follows: Gemini and Vertex, Azure, Bedrock, older OpenAI.
var modelParents = map[string]bool{"models": true, "deployments": true, "model": true, "engines": true}

// inPath writes the name into a path, and reports whether the path names the model. A verb after a colon stays.
func (n rename) inPath(u *url.URL) bool {
	segments := strings.Split(u.EscapedPath(), "/")
	found := false
	for i := 1; i < len(segments); i++ {
		if !modelParents[segments[i-1]] {
			continue
		}
		segment, err := url.PathUnescape(segments[i])
		if err != nil {
			continue
		}
		for _, name := range []string{n.named, n.model} {
			verb, ok := strings.CutPrefix(segment, name)
			if name == "" || !ok || verb != "" && verb[0] != ':' {
				continue
			}
			segments[i], found = strings.ReplaceAll(url.PathEscape(n.there), ":", "%3A")+verb, true
			break
		}
	}
	if found {
		setPath(u, strings.Join(segments, "/"))
	}
	return found
}

// setModel replaces the value of the member model in a JSON object. The rest of the object stays byte for byte. found
// reports whether the object has the member.
func setModel(body []byte, name string) (changed []byte, found bool, err error) {
	value, err := json.Marshal(name)
	if err != nil {
		return nil, false, err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil {
		return nil, false, err
	} else if start != json.Delim('{') {
		return nil, false, errors.New("it begins with another value")
	}
	out := make([]byte, 0, len(body)+len(value))
	done := 0 // bytes of body in out
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false, err
		}
		var its json.RawMessage
		if err := d.Decode(&its); err != nil {
			return nil, false, err
		}
		if key == "model" {
			end := int(d.InputOffset())
			out = append(append(out, body[done:end-len(its)]...), value...)
			done, found = end, true
		}
	}
	return append(out, body[done:]...), found, nil
}
