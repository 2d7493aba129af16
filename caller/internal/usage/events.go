package usage

import "bytes"

// maxEvent is the longest event that Events keeps, in bytes. A longer one is skipped.
const maxEvent = 16 << 10

// Events splits a stream of server-sent events that arrives in pieces. The zero Events is ready to use. It isn't safe for
// concurrent use.
type Events struct {
	event   []byte
	long    bool // the event is longer than maxEvent
	line    int  // bytes in the current line
	comment bool // the current line is a comment
	afterCR bool
}

// Write parses the next piece. It calls found with the text of each event that has ended, which is valid until found
// returns. It reports whether the piece has anything but comments and blank lines, which servers send to keep a connection
// open.
func (e *Events) Write(b []byte, found func(event []byte)) (content bool) {
	for len(b) > 0 {
		n := bytes.IndexAny(b, "\r\n")
		part, end := b, n >= 0
		if end {
			part = b[:n]
		}
		if e.part(part) {
			content = true
		}
		if !end {
			break
		}
		e.endLine(b[n], found)
		b = b[n+1:]
	}
	return content
}

// part parses part of a line. It reports whether the part has content.
func (e *Events) part(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if e.line == 0 {
		e.comment = b[0] == ':'
	}
	e.line += len(b)
	e.afterCR = false
	if e.comment {
		return false
	}
	if e.long = e.long || len(e.event)+len(b) > maxEvent; !e.long {
		e.event = append(e.event, b...)
	}
	return true
}

// endLine parses the end of a line. An empty line ends an event.
func (e *Events) endLine(c byte, found func([]byte)) {
	second := c == '\n' && e.afterCR
	e.afterCR = c == '\r'
	switch {
	case second: // of a line's end
		return
	case e.line > 0 && !e.comment:
		if !e.long {
			e.event = append(e.event, '\n')
		}
	case e.line == 0 && (len(e.event) > 0 || e.long):
		if !e.long {
			found(append(e.event, '\n'))
		}
		e.event, e.long = e.event[:0], false
	}
	e.line = 0
}

// Open reports whether an event has begun and not ended.
func (e *Events) Open() bool { return len(e.event) > 0 || e.long || e.line > 0 && !e.comment }
