package caller

const (
	// maxSkeleton bounds what is kept of one JSON document; of a larger one nothing is used.
	maxSkeleton = 64 << 10
	// maxString is the longest string that is kept.
	maxString = 256
)

// skeleton reads JSON as it goes by, and keeps its outline: objects, numbers and short strings, while lists are emptied
// and long strings too. That is where an answer's usage stands, and a few hundred bytes, however long the answer.
// A list at the top is read as a sequence of documents. Text that isn't JSON yields nonsense, but bounded.
type skeleton struct {
	kept    []byte
	depth   int // of objects and lists open
	top     int // the depth between documents: 1 within a list at the top
	list    int // the depth at which the list opened that is being left out; 0: none is
	start   int // of the string being read, in kept
	text    bool
	escaped bool
	long    bool // the string isn't kept
	begun   bool
	full    bool
}

// write reads on, and gives the outline of each document that ends to found, which must not keep it.
func (s *skeleton) write(b []byte, found func(document []byte)) {
	for _, c := range b {
		switch {
		case s.text:
			s.inText(c)
		case c == '"':
			s.keep(c)
			s.text, s.long, s.start = true, s.list > 0, len(s.kept)
		case c == '{' || c == '[':
			s.open(c)
		case c == '}' || c == ']':
			if s.close(c) {
				if !s.full {
					found(s.kept)
				}
				s.kept, s.full = s.kept[:0], false
			}
		default:
			s.keep(c)
		}
	}
}

// inText reads a byte of a string.
func (s *skeleton) inText(c byte) {
	if c == '"' && !s.escaped {
		s.text = false
		s.keep(c)
		return
	}
	s.escaped = c == '\\' && !s.escaped
	if s.long {
		return
	}
	s.keep(c)
	if len(s.kept)-s.start > maxString {
		s.kept, s.long = s.kept[:s.start], true
	}
}

func (s *skeleton) open(c byte) {
	s.depth++
	s.begun = true
	if c == '[' && s.depth == 1 {
		s.top = 1
		return
	}
	s.keep(c)
	if c == '[' && s.list == 0 {
		s.list = s.depth
	}
}

// close reports whether a document has ended.
func (s *skeleton) close(c byte) bool {
	if s.depth == 0 {
		return false
	}
	if s.depth == s.list {
		s.list = 0
	}
	s.keep(c)
	s.depth--
	if s.depth < s.top {
		s.top = 0
		return false
	}
	return s.depth == s.top && len(s.kept) > 0
}

// keep keeps a byte of the outline.
func (s *skeleton) keep(c byte) {
	switch {
	case s.list > 0 || s.depth <= s.top:
	case len(s.kept) < maxSkeleton:
		s.kept = append(s.kept, c)
	default:
		s.full = true
	}
}

// whole reports whether all that was begun has ended.
func (s *skeleton) whole() bool { return s.begun && s.depth == 0 && !s.text }

// reset forgets a document that is being read.
func (s *skeleton) reset() { *s = skeleton{kept: s.kept[:0]} }
