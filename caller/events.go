package caller

import (
	"bytes"
	"strings"
)

// events finds the data of server-sent events (WHATWG HTML, section 9.2) as they go by, without holding them up.
type events struct {
	line  [16]byte // the line's beginning
	n     int      // bytes of it
	after bool     // the last byte was a carriage return
	done  bool     // the data [DONE], by which OpenAI and many others end a stream, was there
}

const dataField = "data:"

// write reads on, and gives what is data to data; end is called behind each event.
func (e *events) write(b []byte, data func([]byte), end func()) {
	for len(b) > 0 {
		c := b[0]
		if c == '\n' || c == '\r' {
			if c == '\r' || !e.after { // the line's end, unless it is the second half of it
				e.endLine(end)
			}
			e.after = c == '\r'
			b = b[1:]
			continue
		}
		e.after = false
		n := bytes.IndexAny(b, "\r\n")
		if n < 0 {
			n = len(b)
		}
		e.inLine(b[:n], data)
		b = b[n:]
	}
}

// inLine reads part of a line.
func (e *events) inLine(b []byte, data func([]byte)) {
	before := e.n
	e.n += copy(e.line[e.n:], b)
	if !strings.HasPrefix(string(e.line[:e.n]), dataField) {
		return
	}
	if b = b[max(0, min(len(b), len(dataField)-before)):]; len(b) > 0 {
		data(b)
	}
}

func (e *events) endLine(end func()) {
	if e.n == 0 {
		end()
	}
	if value, ok := strings.CutPrefix(string(e.line[:e.n]), dataField); ok && strings.TrimSpace(value) == "[DONE]" {
		e.done = true
	}
	e.n = 0
}
