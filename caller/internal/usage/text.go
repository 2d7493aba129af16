package usage

import "bytes"

// textNames are the members of responses that hold generated text, at any provider.
var textNames = map[string]bool{
	"content": true, "text": true, "delta": true, "completion": true, "refusal": true, "arguments": true, "partial_json": true,
	"thinking": true, "reasoning": true, "reasoning_content": true,
}

// maxName is the longest name in textNames, in bytes.
const maxName = 20

// repeats ends the type of an event that repeats text of earlier events.
var repeats = []byte(`.done"`)

// textMeter measures the generated text in JSON documents.
type textMeter struct {
	ended    length // of the documents that have ended
	document length // of the current document
	current  length // of the current string, or of the last one
	last     []byte // its beginning
	inText   bool   // the last name is one of textNames
}

// length is the length of a text, in bytes.
type length struct{ narrow, wide int64 }

// tokens estimates a text: a token is four characters of one byte, or three bytes of others.
func (l length) tokens() int64 { return (l.narrow+3)/4 + (l.wide+2)/3 }

func (l *length) add(other length) {
	l.narrow += other.narrow
	l.wide += other.wide
}

// begin parses the beginning of a string.
func (m *textMeter) begin() {
	m.document.add(m.current)
	m.current, m.last = length{}, m.last[:0]
}

// add parses a byte of a string.
func (m *textMeter) add(c byte) {
	if len(m.last) <= maxName {
		m.last = append(m.last, c)
	}
	switch {
	case !m.inText:
	case c < 0x80:
		m.current.narrow++
	default:
		m.current.wide++
	}
}

// name parses a colon: the last string was a name.
func (m *textMeter) name() {
	m.current, m.inText = length{}, textNames[string(m.last)]
}

// endDocument parses the end of a document, of which it gets the outline.
func (m *textMeter) endDocument(outline []byte) {
	m.document.add(m.current)
	if !bytes.Contains(outline, repeats) {
		m.ended.add(m.document)
	}
	*m = m.withoutDocument()
}

// withoutDocument returns the meter without the current document.
func (m *textMeter) withoutDocument() textMeter { return textMeter{ended: m.ended, last: m.last[:0]} }

// tokens estimates the text so far, that of the unfinished document included.
func (m *textMeter) tokens() int64 {
	all := m.ended
	all.add(m.document)
	all.add(m.current)
	return all.tokens()
}
