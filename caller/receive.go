package caller

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// maxWhole is the longest part of a response that is read within the attempt (see Options.Whole), in bytes.
const maxWhole = 64 << 20

// reading says how the response to an attempt is read.
type reading struct {
	estimated   Cost
	idempotency Idempotency
	whole       bool // see Options.Whole
}

// errCut: an answer that is read within the attempt isn't whole.
var errCut = fmt.Errorf("the answer ends in the middle: %w", io.ErrUnexpectedEOF)

// receive makes the response's body end the attempt, and judges the response. It reads no more of the body than that
// needs. whole says that it has read all of a success. Its error means that the response has no answer in it, because the
// body broke off.
func (t *Transport) receive(res *http.Response, req *http.Request, g *Grant, how reading) (v Verdict, whole bool, err error) {
	res.Request = req
	if res.Header == nil {
		res.Header = http.Header{}
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	t.pool.observe(g, res)
	c := t.newContent(res, how)
	body := t.newBody(res, g, c)
	v, err = t.judge(res, body, c)
	if err == nil && v.Outcome == Success && how.whole && res.StatusCode/100 == 2 && mayHaveBody(res) {
		err = body.readWhole(res)
	}
	switch {
	case err != nil:
		_ = res.Body.Close()
		return v, false, err
	case v.Outcome != Success && body != nil:
		g.release() // the provider has ended a request that failed, so the permit doesn't wait for the body's reader
	case body != nil:
		body.learn() // what was read to judge the response may have more than its first event
		if whole = body.complete(); whole {
			body.finish(true)
		}
	}
	return v, whole, nil
}

// judge returns the verdict on a response. Of a response that isn't a success it reads the beginning, of a success as much
// as the profile needs.
func (t *Transport) judge(res *http.Response, body *responseBody, c *content) (Verdict, error) {
	judge := t.pool.judge
	switch {
	case res.StatusCode >= http.StatusBadRequest:
		if body == nil || c == nil {
			if body != nil {
				body.readHead()
			}
			return judge(res, []byte{}), nil
		}
		c.judging = true
		body.readHead()
		v := c.judge(c.beginning())
		c.judged(v)
		return v, nil
	case res.StatusCode/100 != 2 || !mayHaveBody(res) || c == nil:
		return judge(res, nil), nil
	}
	c.judging = true
	v, err := t.judgeBeginning(res, body, c)
	c.judged(v)
	return v, err
}

// judgeBeginning judges a success by its body: first without any of it, and then with each piece that comes, until the
// verdict is no longer Pending.
func (t *Transport) judgeBeginning(res *http.Response, body *responseBody, c *content) (Verdict, error) {
	if !t.pool.settings.judgesBodies {
		return c.judge(nil), nil
	}
	v := c.judge([]byte{})
	follows := v.Outcome == Success && carriesDocument(res) && body != nil
	for v.Outcome == Pending || follows {
		follows = false
		err := body.fill()
		text := c.beginning()
		v = c.judge(text)
		switch {
		case err != nil && !errors.Is(err, io.EOF) && (v.Outcome == Pending || len(text) == 0):
			return v, err
		case v.Outcome != Pending:
		case err != nil:
			return Verdict{Outcome: Transient, Scope: ScopeProvider, Reason: "empty"}, nil //nolint:nilerr // the end of a body
		case len(text) >= maxJudged, len(body.head) >= maxJudged, c.isDamaged():
			return Verdict{}, nil
		}
	}
	return v, nil
}

// carriesDocument reports whether a response has a JSON document that comes with its headers: reading it costs no latency.
func carriesDocument(res *http.Response) bool {
	if res.Request.Method != http.MethodPost && res.ContentLength <= 0 {
		return false
	}
	return isJSON(res.Header)
}

// isJSON reports whether a Content-Type is that of JSON.
func isJSON(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// readHead reads the beginning of an error response. What is read before an error suffices to judge it.
func (b *responseBody) readHead() {
	for len(b.head) < maxErrorBody && b.fill() == nil {
	}
}

// readWhole reads the rest of an answer, up to maxWhole. Its error means that the answer isn't whole. A nil body is empty.
func (b *responseBody) readWhole(res *http.Response) error {
	if b == nil {
		return errCut
	}
	if res.ContentLength > 0 {
		b.head = slices.Grow(b.head, int(min(res.ContentLength, maxWhole)))
	}
	for len(b.head) < maxWhole {
		switch err := b.fill(); {
		case errors.Is(err, io.EOF):
			if len(b.head) == 0 || b.content != nil && !b.content.whole() {
				return errCut
			}
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}
