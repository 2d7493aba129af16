package usage

const (
	// maxOutline is the largest outline, in bytes. A document with a larger one is skipped.
	maxOutline = 64 << 10
	// maxString is the longest string that an outline keeps, in bytes.
	maxString = 256
)

// outline parses JSON text that arrives in pieces and keeps each document's outline: objects, numbers and short strings.
// Lists and longer strings are kept empty. So an outline is a few hundred bytes, however long the document is.
// A list at the top level is read as a sequence of documents. Text that isn't JSON gives meaningless outlines, within the
// same bounds.
type outline struct {
	kept     []byte // the outline so far
	depth    int    // number of open objects and lists
	top      int    // depth between two documents: 1 within a list at the top level, else 0
	list     int    // depth at which the skipped list opened; 0: no list is being skipped
	start    int    // where the current string begins in kept
	inString bool
	escaped  bool // the last byte was a backslash
	skip     bool // the current string isn't kept
	begun    bool // an object or a list was opened
	full     bool // the outline is larger than maxOutline
}

// write parses the next piece. At the end of each document it calls found with the outline, which is valid until found
// returns.
func (o *outline) write(b []byte, found func(document []byte)) {
	for _, c := range b {
		switch {
		case o.inString:
			o.stringByte(c)
		case c == '"':
			o.keep(c)
			o.inString, o.skip, o.start = true, o.list > 0, len(o.kept)
		case c == '{' || c == '[':
			o.open(c)
		case c == '}' || c == ']':
			if o.close(c) {
				if !o.full {
					found(o.kept)
				}
				o.kept, o.full = o.kept[:0], false
			}
		default:
			o.keep(c)
		}
	}
}

// stringByte parses a byte of a string.
func (o *outline) stringByte(c byte) {
	if c == '"' && !o.escaped {
		o.inString = false
		o.keep(c)
		return
	}
	o.escaped = c == '\\' && !o.escaped
	if o.skip {
		return
	}
	o.keep(c)
	if len(o.kept)-o.start > maxString {
		o.kept, o.skip = o.kept[:o.start], true
	}
}

// open parses the beginning of an object or a list.
func (o *outline) open(c byte) {
	o.depth++
	o.begun = true
	if c == '[' && o.depth == 1 {
		o.top = 1
		return
	}
	o.keep(c)
	if c == '[' && o.list == 0 {
		o.list = o.depth
	}
}

// close parses the end of an object or a list. It reports whether a document ends there.
func (o *outline) close(c byte) bool {
	if o.depth == 0 {
		return false
	}
	if o.depth == o.list {
		o.list = 0
	}
	o.keep(c)
	o.depth--
	if o.depth < o.top {
		o.top = 0
		return false
	}
	return o.depth == o.top && len(o.kept) > 0
}

// keep adds a byte to the outline if the byte stands within a document and outside of skipped lists.
func (o *outline) keep(c byte) {
	switch {
	case o.list > 0 || o.depth <= o.top:
	case len(o.kept) < maxOutline:
		o.kept = append(o.kept, c)
	default:
		o.full = true
	}
}

// complete reports whether a document was read and nothing is open.
func (o *outline) complete() bool { return o.begun && o.depth == 0 && !o.inString }

// reset discards an unfinished document.
func (o *outline) reset() { *o = outline{kept: o.kept[:0]} }
