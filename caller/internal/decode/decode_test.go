package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// flusher is a compressor.
type flusher interface {
	io.WriteCloser
	Flush() error
}

func compressors(t *testing.T) map[string]func(io.Writer) flusher {
	t.Helper()
	return map[string]func(io.Writer) flusher{
		"gzip":    func(w io.Writer) flusher { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) flusher { return zlib.NewWriter(w) },
		"Deflate": func(w io.Writer) flusher { // without zlib's header
			z, err := flate.NewWriter(w, flate.DefaultCompression)
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
		"br": func(w io.Writer) flusher { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) flusher {
			z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	}
}

// What a server has flushed is found before Write returns, however the body is cut into pieces.
func TestWriter_FindsWhatWasFlushed(t *testing.T) {
	t.Parallel()
	events := []string{"data: one\n\n", "data: " + strings.Repeat("two ", 10_000) + "\n\n", "data: [DONE]\n\n"}
	for encoding, compress := range compressors(t) {
		for _, size := range []int{1, 7, 1 << 20} {
			var got, body bytes.Buffer
			w := New(encoding, func(text []byte) { got.Write(text) })
			z := compress(&body)
			var want strings.Builder
			for i, event := range events {
				_, _ = io.WriteString(z, event)
				if i < len(events)-1 {
					_ = z.Flush()
				} else {
					_ = z.Close()
				}
				for body.Len() > 0 {
					if err := w.Write(body.Next(size)); err != nil {
						t.Fatal(encoding, err)
					}
				}
				if want.WriteString(event); got.String() != want.String() {
					t.Errorf("%s in pieces of %d: got %d bytes of text after event %d, want %d", encoding, size, got.Len(), i, len(want.String()))
				}
			}
			if err := w.Close(); err != nil {
				t.Errorf("%s: got %v from Close, want nil", encoding, err)
			}
		}
	}
}

// A body that is cut or damaged is an error. The text before is found.
func TestWriter_ReportsDamage(t *testing.T) {
	t.Parallel()
	for encoding, compress := range compressors(t) {
		var body, got bytes.Buffer
		z := compress(&body)
		_, _ = io.WriteString(z, "before")
		_ = z.Flush()
		whole := body.Len()
		_, _ = io.WriteString(z, "after")
		_ = z.Close()
		w := New(encoding, func(text []byte) { got.Write(text) })
		_ = w.Write(body.Bytes()[:whole])
		if err := w.Close(); err == nil || got.String() != "before" {
			t.Errorf("%s, cut: got %q, %v, want the text and an error", encoding, got.String(), err)
		}
		w = New(encoding, func([]byte) {})
		err := w.Write([]byte("this is not compressed at all"))
		if closed := w.Close(); err == nil && closed == nil {
			t.Errorf("%s, damaged: got no error, want one", encoding)
		}
	}
}

// Encodings are decoded in the reverse order of the list. Others have no Writer. A Writer that is never used has no cost.
func TestNew_KnowsEncodings(t *testing.T) {
	t.Parallel()
	for encoding, want := range map[string]bool{
		"gzip": true, "x-gzip": true, "GZIP": true, "br": true, "zstd": true, "deflate": true, "gzip, br": true, "identity, gzip": true,
		"": false, "identity": false, "compress": false, "gzip, aes": false,
	} {
		w := New(encoding, func([]byte) {})
		if got := w != nil; got != want || Known(encoding) != want {
			t.Errorf("%q: got a Writer: %v, want %v", encoding, got, want)
		}
		if w != nil && w.Close() != nil {
			t.Errorf("%q: got an error from Close without a body, want nil", encoding)
		}
	}
	var inner, outer, got bytes.Buffer
	b := brotli.NewWriter(&inner)
	_, _ = io.WriteString(b, "text")
	_ = b.Close()
	z := gzip.NewWriter(&outer)
	_, _ = z.Write(inner.Bytes())
	_ = z.Close()
	w := New("br, gzip", func(text []byte) { got.Write(text) })
	if err := w.Write(outer.Bytes()); err != nil || w.Close() != nil || got.String() != "text" {
		t.Errorf("got %q, %v, want the text", got.String(), err)
	}
}

// A short body with an endless text ends with an error.
func TestWriter_BoundsTheText(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	z := brotli.NewWriterLevel(&body, 9)
	_, _ = z.Write(make([]byte, free+(8<<20)))
	_ = z.Close()
	w := New("br", func([]byte) {})
	err := w.Write(body.Bytes())
	if _ = w.Close(); err == nil {
		t.Errorf("got no error for %d bytes with a text of %d, want one", body.Len(), free+(8<<20))
	}
}
