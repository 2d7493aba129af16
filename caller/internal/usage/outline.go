package usage

import "bytes"

const (
	// maxOutline is the largest outline, in bytes. A document with a larger one is skipped.
	maxOutline = 64 << 10
	// maxString is the longest string that an outline keeps, in bytes.
	maxString = 256
	// maxLists is the number of lists within lists whose elements are looked at.
	maxLists = 8
	// elementMark begins the name of a member that elements of lists are kept for.
	elementMark = `"usage`
)

// outline parses JSON text that arrives in pieces and keeps each document's outline: objects, numbers and short strings.
// Longer strings are kept empty. Of a list it keeps the elements that report a usage. So an outline is a few hundred
// bytes, however long the document is.
//
// A list at the top level is read as a sequence of documents. Text that isn't JSON gives meaningless outlines, within the
// same bounds.
type outline struct {
	kept     []byte // the outline so far
	depth    int    // number of open objects and lists
	top      int    // depth between two documents: 1 within a list at the top level, else 0
	lists    []list // open lists within the document, at most maxLists
	skipped  int    // depth at which a list opened that is kept empty; 0: there is none
	start    int    // where the current string begins in kept
	inString bool
	escaped  bool // the last byte was a backslash
	skip     bool // the current string isn't kept
	begun    bool // an object or a list was opened
	full     bool // the outline is larger than maxOutline

	text textMeter
}

// list is an open list of a document.
type list struct {
	depth int  // of its elements
	start int  // where the current element begins in kept
	full  bool // the outline was too large there
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
			o.inString, o.skip, o.start = true, o.skipped > 0, len(o.kept)
			o.text.begin()
		case c == '{' || c == '[':
			o.open(c)
		case c == '}' || c == ']':
			if o.close(c) {
				o.text.endDocument(o.kept)
				if !o.full {
					found(o.kept)
				}
				o.kept, o.full = o.kept[:0], false
			}
		case c == ',':
			o.element(true)
		default:
			if c == ':' {
				o.text.name()
			}
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
	o.text.add(c)
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
	switch {
	case c != '[' || o.skipped > 0:
	case len(o.lists) < maxLists:
		o.lists = append(o.lists, list{o.depth, len(o.kept), o.full})
	default:
		o.skipped = o.depth
	}
}

// close parses the end of an object or a list. It reports whether a document ends there.
func (o *outline) close(c byte) bool {
	if o.depth == 0 {
		return false
	}
	o.element(false)
	if n := len(o.lists); n > 0 && o.lists[n-1].depth == o.depth {
		o.lists = o.lists[:n-1]
	}
	if o.depth == o.skipped {
		o.skipped = 0
	}
	o.keep(c)
	o.depth--
	if o.depth < o.top {
		o.top = 0
		return false
	}
	return o.depth == o.top && len(o.kept) > 0
}

// element parses the end of an element or a member. more says that a comma follows. It keeps an element of a list only if
// the element reports a usage.
func (o *outline) element(more bool) {
	n := len(o.lists)
	if n == 0 || o.lists[n-1].depth != o.depth {
		if more {
			o.keep(',')
		}
		return
	}
	l := &o.lists[n-1]
	start := min(l.start, len(o.kept))
	switch {
	case !bytes.Contains(o.kept[start:], []byte(elementMark)):
		o.kept, o.full = o.kept[:start], l.full
	case more:
		o.keep(',')
		l.start, l.full = len(o.kept), o.full
		return
	}
	if !more && bytes.HasSuffix(o.kept, []byte(",")) {
		o.kept = o.kept[:len(o.kept)-1]
	}
}

// keep adds a byte to the outline if the byte stands within a document and outside of skipped lists.
func (o *outline) keep(c byte) {
	switch {
	case o.skipped > 0 || o.depth <= o.top:
	case len(o.kept) < maxOutline:
		o.kept = append(o.kept, c)
	default:
		o.full = true
	}
}

// complete reports whether a document was read and nothing is open.
func (o *outline) complete() bool { return o.begun && o.depth == 0 && !o.inString }

// reset discards an unfinished document.
func (o *outline) reset() {
	*o = outline{kept: o.kept[:0], lists: o.lists[:0], text: o.text.withoutDocument()}
}
