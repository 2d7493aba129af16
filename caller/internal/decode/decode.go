// Package decode decompresses the body of an HTTP response while the body's user reads it compressed.
//
// The decompressors read, and the body arrives in pieces that are written. A goroutine runs the decompressor; each Write
// hands it a piece and waits until it has used the piece up. So the decoded text of a piece is there when Write returns.
package decode

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow bounds the memory of one zstd decoder, in bytes. RFC 9659 allows a window of 8 MiB in HTTP.
	maxWindow = 8 << 20
	// maxRatio bounds the decoded text of a body, in multiples of its length, beyond free bytes.
	maxRatio = 1 << 10
	free     = 64 << 20
)

// Writer decompresses what is written to it. It isn't safe for concurrent use. Close ends it.
type Writer struct {
	found func(text []byte)
	open  func(io.Reader) (io.Reader, error)

	pieces chan []byte   // nil until the first Write
	hungry chan struct{} // the decompressor has used up its piece
	done   chan struct{} // the decompressor has ended
	err    error         // why; readable when done is closed
	closed bool

	rest    []byte // of the piece, in the decompressor's goroutine
	ended   bool   // no piece follows
	read    int64  // bytes of the body so far
	decoded int64  // bytes of text so far
}

// Known reports whether New returns a Writer for a Content-Encoding.
func Known(contentEncoding string) bool {
	_, err := opener(contentEncoding)
	return err == nil
}

// New returns a Writer for a body of the given Content-Encoding, or nil if the encoding isn't known. gzip, deflate, br,
// zstd and lists of them are. The Writer calls found with the text, which is valid until found returns, before Write
// returns.
func New(contentEncoding string, found func(text []byte)) *Writer {
	open, err := opener(contentEncoding)
	if err != nil {
		return nil
	}
	return &Writer{found: found, open: open}
}

// Write decompresses the next piece of the body. An error says that the body is damaged; nothing more is found then.
func (w *Writer) Write(piece []byte) error {
	if len(piece) == 0 || w.closed {
		return nil
	}
	if w.pieces == nil {
		w.pieces, w.hungry, w.done = make(chan []byte), make(chan struct{}), make(chan struct{})
		go w.run()
		<-w.hungry
	}
	select {
	case w.pieces <- piece:
	case <-w.done:
		return w.err
	}
	select {
	case <-w.hungry:
		return nil
	case <-w.done:
		return w.err
	}
}

// Close ends the decompression. Its error says that the body is damaged or not whole. Further calls return the same.
func (w *Writer) Close() error {
	if w.pieces == nil || w.closed {
		return w.err
	}
	w.closed = true
	close(w.pieces)
	<-w.done
	return w.err
}

// run runs the decompressor.
func (w *Writer) run() {
	defer close(w.done)
	r, err := w.open(source{w})
	buf := make([]byte, 8<<10)
	for err == nil {
		var n int
		n, err = r.Read(buf)
		if n > 0 {
			if w.decoded += int64(n); w.decoded > free && w.decoded/maxRatio > w.read {
				w.err = errors.New("the text is more than 1,024 times as long as the body")
				return
			}
			w.found(buf[:n])
		}
	}
	if !errors.Is(err, io.EOF) {
		w.err = err
	}
}

// source is the body as the decompressor reads it.
type source struct{ w *Writer }

// Read returns a part of the current piece, or waits for the next.
func (s source) Read(p []byte) (int, error) {
	w := s.w
	for len(w.rest) == 0 {
		if w.ended {
			return 0, io.EOF
		}
		w.hungry <- struct{}{}
		piece, ok := <-w.pieces
		if !ok {
			w.ended = true
			return 0, io.EOF
		}
		w.rest = piece
		w.read += int64(len(piece))
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// opener returns the function that opens the decompressor of a Content-Encoding.
func opener(contentEncoding string) (func(io.Reader) (io.Reader, error), error) {
	var all []func(io.Reader) (io.Reader, error)
	for name := range strings.SplitSeq(contentEncoding, ",") {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			all = append(all, func(r io.Reader) (io.Reader, error) { return &members{from: bufio.NewReader(r)}, nil })
		case "deflate":
			all = append(all, deflate)
		case "br":
			all = append(all, func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil })
		case "zstd":
			all = append(all, func(r io.Reader) (io.Reader, error) {
				return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			})
		case "identity", "":
		default:
			return nil, errors.ErrUnsupported
		}
	}
	if len(all) == 0 {
		return nil, errors.ErrUnsupported
	}
	return func(r io.Reader) (_ io.Reader, err error) {
		for i := len(all) - 1; i >= 0 && err == nil; i-- { // the last encoding was applied last
			r, err = all[i](r)
		}
		return r, err
	}, nil
}

// members reads the members of gzip data. A gzip.Reader by itself waits for the next member before it returns the end of
// the last.
type members struct {
	from   *bufio.Reader
	member gzip.Reader
	open   bool
}

// Read implements io.Reader.
func (m *members) Read(p []byte) (int, error) {
	for {
		if !m.open {
			if err := m.member.Reset(m.from); err != nil {
				return 0, err
			}
			m.member.Multistream(false)
			m.open = true
		}
		n, err := m.member.Read(p)
		if err == nil || !errors.Is(err, io.EOF) {
			return n, err
		}
		if m.open = false; n > 0 {
			return n, nil
		}
	}
}

// deflate opens zlib data, or the raw data that some servers send in its place.
func deflate(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	header, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if header[0]&0x0f == 8 && (int(header[0])<<8|int(header[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}
