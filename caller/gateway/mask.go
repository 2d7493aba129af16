package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

const (
	// minSecret is the length from which a text is taken for a secret, in bytes. Shorter ones would match ordinary text.
	minSecret = 8
	// maskChar takes the place of each byte of a secret, so that the text keeps its length.
	maskChar = '*'
)

// secretsIn returns the texts that authorise an attempt.
func secretsIn(attempt *http.Request, grant *caller.Grant) []string {
	var found []string
	add := func(text string) {
		if _, rest, ok := strings.Cut(text, " "); ok {
			text = rest // a scheme such as Bearer
		}
		if len(text) >= minSecret && !slices.Contains(found, text) {
			found = append(found, text)
			if q := url.QueryEscape(text); q != text {
				found = append(found, q)
			}
		}
	}
	if grant != nil {
		add(grant.Secret())
	}
	for _, name := range credentials {
		for _, v := range attempt.Header[name] {
			add(v)
		}
	}
	if attempt.URL.RawQuery != "" {
		for name, values := range attempt.URL.Query() {
			if keyParameter.MatchString(name) {
				for _, v := range values {
					add(v)
				}
			}
		}
	}
	return found
}

// keyParameter matches the names of query parameters that take an API key.
var keyParameter = regexp.MustCompile(`(?i)^(key|api[-_]?key|subscription-key|(access|auth)[-_]?token|token)$`)

// mask returns text without the secrets.
func mask(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, strings.Repeat(string(maskChar), len(s)))
	}
	return text
}

// maskHead takes the secrets out of a head's values.
func maskHead(h http.Header, secrets []string) {
	for _, values := range h {
		for i, v := range values {
			values[i] = mask(v, secrets)
		}
	}
}

// maskedBody is a response's body without the secrets. It holds nothing back but the part of a secret from its eighth byte
// on, so that a stream isn't delayed.
type maskedBody struct {
	io.Closer
	from  io.Reader
	masks []masker
	out   []byte // masked, not read yet
	err   error  // of from, after out
}

func newMaskedBody(body io.ReadCloser, secrets []string) io.ReadCloser {
	b := &maskedBody{Closer: body, from: body}
	for _, s := range secrets {
		b.masks = append(b.masks, masker{secret: []byte(s), next: failures(s)})
	}
	return b
}

// Read reads masked bytes.
func (b *maskedBody) Read(p []byte) (int, error) {
	for len(b.out) == 0 && b.err == nil && len(p) > 0 {
		n, err := b.from.Read(p)
		b.err = err
		if n > 0 && err == nil && b.clean(p[:n]) {
			return n, nil
		}
		b.out = bytes.Clone(p[:n])
		for i := range b.masks {
			b.out = b.masks[i].feed(b.out, err != nil)
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	if len(b.out) > 0 {
		return n, nil
	}
	return n, b.err
}

// clean reports whether no secret begins, goes on or ends in p, as in nearly all answers. The bytes then stay where they are.
func (b *maskedBody) clean(p []byte) bool {
	for i := range b.masks {
		m := &b.masks[i]
		if m.matched > 0 || len(m.held) > 0 || bytes.Contains(p, m.secret[:minSecret]) || m.tail(p) > 0 {
			return false
		}
	}
	return true
}

// masker finds a secret in a stream (Knuth, Morris, Pratt 1977).
type masker struct {
	secret  []byte
	next    []int  // of each prefix, the longest shorter one that it ends in
	matched int    // bytes of the secret that the stream ends in
	held    []byte // the end of the stream that isn't passed on yet
}

// failures returns the KMP table of a text.
func failures(s string) []int {
	next := make([]int, len(s)+1)
	for i, k := 1, 0; i < len(s); i++ {
		for k > 0 && s[i] != s[k] {
			k = next[k]
		}
		if s[i] == s[k] {
			k++
		}
		next[i+1] = k
	}
	return next
}

// tail returns how many bytes of the secret p ends in, fewer than minSecret.
func (m *masker) tail(p []byte) int {
	for n := min(minSecret-1, len(p)); n > 0; n-- {
		if bytes.HasSuffix(p, m.secret[:n]) {
			return n
		}
	}
	return 0
}

// feed returns the masked stream's next bytes. At the end of the stream nothing stays held.
func (m *masker) feed(p []byte, end bool) []byte {
	out := make([]byte, 0, len(p)+len(m.held))
	for _, c := range p {
		for m.matched > 0 && (m.matched == len(m.secret) || m.secret[m.matched] != c) {
			m.matched = m.next[m.matched]
		}
		if m.secret[m.matched] == c {
			m.matched++
		}
		m.held = append(m.held, c)
		if m.matched == len(m.secret) { // its first bytes may have been passed on
			own := min(len(m.held), len(m.secret))
			for i := len(m.held) - own; i < len(m.held); i++ {
				m.held[i] = maskChar
			}
			for i := max(0, len(out)-(len(m.secret)-own)); i < len(out); i++ {
				out[i] = maskChar
			}
		}
		if m.matched < minSecret || m.matched == len(m.secret) {
			out = append(out, m.held...)
			m.held = m.held[:0]
		} else if n := len(m.held) - (m.matched - minSecret + 1); n > 0 { // a shorter prefix is matched now
			out = append(out, m.held[:n]...)
			m.held = append(m.held[:0], m.held[n:]...)
		}
	}
	if end {
		out = append(out, m.held...)
		m.held = m.held[:0]
	}
	return out
}
