package batch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Line is one line of a file.
type Line struct {
	Number int   // from 1
	Start  int64 // offset of its first byte
	End    int64 // offset of the byte after its line break
	Text   []byte
	// Torn reports that the file ends before the line's line break.
	Torn bool
}

// LineTooLongError is the error for a line longer than the limit of Lines.
type LineTooLongError struct {
	Number int // from 1
	Max    int // bytes
}

// Error returns the number and the limit.
func (e *LineTooLongError) Error() string {
	return fmt.Sprintf("line %d is longer than %d bytes", e.Number, e.Max)
}

// Lines yields the lines of r, without their line breaks. It leaves out lines of white space alone, and a byte order mark at
// the beginning. The receiver may keep each Text. A line longer than limit bytes is skipped with a *LineTooLongError. An
// error of r ends the sequence. At most limit bytes and a buffer are in memory.
func Lines(r io.Reader, limit int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		s := lineScanner{r: bufio.NewReaderSize(r, 64<<10), max: limit}
		for {
			line, err := s.next()
			_, long := errors.AsType[*LineTooLongError](err)
			switch {
			case errors.Is(err, io.EOF):
				return
			case long:
			case err != nil:
				yield(line, err)
				return
			case len(bytes.TrimSpace(line.Text)) == 0:
				continue
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

type lineScanner struct {
	r      *bufio.Reader
	max    int
	number int
	offset int64
}

// next returns the next line, and io.EOF only after the last one.
func (s *lineScanner) next() (Line, error) {
	var text []byte
	var read, size int64
	s.number++
	for {
		part, err := s.r.ReadSlice('\n')
		read += int64(len(part))
		body := bytes.TrimSuffix(part, []byte("\n"))
		if size += int64(len(body)); size <= int64(s.max) {
			text = append(text, body...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (err != io.EOF || read == 0) {
			return Line{Number: s.number}, err
		}
		line := Line{Number: s.number, Start: s.offset, End: s.offset + read, Torn: err == io.EOF}
		s.offset = line.End
		if size > int64(s.max) {
			return line, &LineTooLongError{Number: s.number, Max: s.max}
		}
		if s.number == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		line.Text = bytes.TrimSuffix(text, []byte("\r"))
		return line, nil
	}
}
