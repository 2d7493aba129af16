package usage

import (
	"bytes"
	"strings"
)

// sse parses server-sent events (WHATWG HTML, section 9.2) that arrive in pieces.
type sse struct {
	line    [16]byte // the first bytes of the current line
	n       int      // bytes in line
	afterCR bool     // the last byte was a carriage return
	done    bool     // the data [DONE] was read, which ends the streams of OpenAI and many others
}

const dataField = "data:"

// write parses the next piece. It calls data with each part of a data field's value, and end after each event.
func (s *sse) write(b []byte, data func([]byte), end func()) {
	for len(b) > 0 {
		c := b[0]
		if c == '\n' || c == '\r' {
			if c == '\r' || !s.afterCR { // a line feed after a carriage return ends no second line
				s.endLine(end)
			}
			s.afterCR = c == '\r'
			b = b[1:]
			continue
		}
		s.afterCR = false
		n := bytes.IndexAny(b, "\r\n")
		if n < 0 {
			n = len(b)
		}
		s.linePart(b[:n], data)
		b = b[n:]
	}
}

// linePart parses part of a line.
func (s *sse) linePart(b []byte, data func([]byte)) {
	before := s.n
	s.n += copy(s.line[s.n:], b)
	if !strings.HasPrefix(string(s.line[:s.n]), dataField) {
		return
	}
	if b = b[max(0, min(len(b), len(dataField)-before)):]; len(b) > 0 {
		data(b)
	}
}

// endLine parses the end of a line. An empty line ends an event.
func (s *sse) endLine(end func()) {
	if s.n == 0 {
		end()
	}
	if value, ok := strings.CutPrefix(string(s.line[:s.n]), dataField); ok && strings.TrimSpace(value) == "[DONE]" {
		s.done = true
	}
	s.n = 0
}
