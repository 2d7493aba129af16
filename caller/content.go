package caller

import (
	"bytes"
	"net/http"
	"strings"
	"sync"

	"github.com/penstock/penstock/caller/internal/decode"
	"github.com/penstock/penstock/caller/internal/usage"
)

// maxJudged is the part of a body that is read to judge the response, in bytes of text.
const maxJudged = 64 << 10

// content looks at a response's content while the body is read: for the verdict, for failures in the middle of a stream, and
// for the usage. It is safe for concurrent use, because a body may be closed during a Read.
type content struct {
	judge func(text []byte) Verdict // by the profile

	mu      sync.Mutex
	decoder *decode.Writer // nil: the body isn't compressed
	damaged bool           // the body can't be decoded
	found   bool           // the last piece had text
	active  bool           // the last piece had more than comments and blank lines
	judging bool           // head is being read
	head    []byte         // the beginning of the text
	any     bool           // there was text
	failed  *Verdict       // of an event in the middle of the stream
	taught  bool           // failed was taken

	events *usage.Events // nil: the body isn't a stream of events
	meter  *usageMeter   // nil: the usage isn't read
	end    *usage.Reader // of an answer that is read whole, to see whether its end is there; nil: not needed
}

// newContent returns the content of a response. It returns nil if the content can't be decoded.
func (t *Transport) newContent(res *http.Response, how reading) *content {
	p := t.pool.settings
	seen := *res // the user may change the response that RoundTrip returns
	seen.Body = http.NoBody
	c := &content{judge: func(text []byte) Verdict { return t.pool.judge(&seen, text) }}
	if encoding := res.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		if c.decoder = decode.New(encoding, c.text); c.decoder == nil {
			return nil
		}
	}
	if res.StatusCode/100 != 2 {
		return c
	}
	if isEventStream(res) {
		c.events = &usage.Events{}
	}
	c.meter = p.newUsageMeter(res, how.estimated)
	if how.whole {
		c.end = usage.NewReader(res.Header.Get("Content-Type"), func([]byte) {})
	}
	return c
}

// isEventStream reports whether a response is a stream of server-sent events.
func isEventStream(res *http.Response) bool {
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// write looks at the next piece of the body. It reports whether the piece has more than comments and blank lines.
func (c *content) write(piece []byte) (active bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.damaged:
		return true
	case c.decoder == nil:
		c.active = false
		c.text(piece)
		return c.active
	}
	c.active, c.found = false, false
	if c.decoder.Write(piece) != nil {
		c.damaged = true
	}
	return c.active || !c.found
}

// text looks at the next piece of the text. The lock is held.
func (c *content) text(b []byte) {
	c.found, c.any = true, true
	if c.judging {
		c.head = append(c.head, b[:min(len(b), maxJudged-len(c.head))]...)
	}
	if c.events != nil {
		c.active = c.events.Write(b, c.event) || c.active
	} else {
		c.active = c.active || len(bytes.TrimSpace(b)) > 0
	}
	if c.meter != nil {
		c.meter.write(b)
	}
	if c.end != nil {
		c.end.Write(b)
	}
}

// event looks at an event of a stream. The profile judges an event that may report a failure.
func (c *content) event(event []byte) {
	if c.failed != nil || !bytes.Contains(event, []byte("error")) && !bytes.Contains(event, []byte("failed")) {
		return
	}
	if v := c.judge(event); v.Outcome != Success && v.Outcome != Pending {
		c.failed = &v
	}
}

// takeFailure returns, once, the verdict on a failure that stands in the middle of a stream.
func (c *content) takeFailure() (Verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil || c.judging || c.taught {
		return Verdict{}, false
	}
	c.taught = true
	return *c.failed, true
}

// beginning returns the text that was read to judge the response. It isn't nil.
func (c *content) beginning() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head == nil {
		return []byte{}
	}
	return c.head
}

// isDamaged reports whether the body can't be decoded.
func (c *content) isDamaged() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.damaged
}

// judged ends the time in which head is read.
func (c *content) judged(v Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judging, c.head = false, nil
	if v.Outcome != Success {
		c.taught = true // the failure is the verdict itself
	}
}

// finish ends the decoder and settles the usage. ended says that the body was read to its end.
func (c *content) finish(g *Grant, ended bool) {
	c.mu.Lock()
	if c.decoder != nil && c.decoder.Close() != nil {
		c.damaged = true
	}
	ended = ended && !c.damaged
	var u readUsage
	if c.meter != nil {
		u = c.meter.total(ended)
	}
	c.mu.Unlock()
	if u.cost != nil {
		g.settle(u)
	}
}

// whole reports whether an answer that was read to its end has all of its text.
func (c *content) whole() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.any && !c.damaged && (c.end == nil || c.end.Complete() || c.events != nil && !c.events.Open())
}
