package apisim

import (
	"compress/gzip"
	"net/http"
	"strings"
)

// compressed compresses the answers of a handler with gzip where the client accepts it.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") || strings.HasPrefix(r.URL.Path, "/sim/") {
			next.ServeHTTP(w, r)
			return
		}
		g := &gzipWriter{ResponseWriter: w}
		next.ServeHTTP(g, r)
		if g.body != nil {
			_ = g.body.Close() // the connection is gone after an injected reset
		}
	})
}

// gzipWriter compresses what is written to a response.
type gzipWriter struct {
	http.ResponseWriter

	body *gzip.Writer
}

// WriteHeader removes the length, which is that of the plain body.
func (g *gzipWriter) WriteHeader(status int) {
	g.Header().Del("Content-Length")
	g.Header().Set("Content-Encoding", "gzip")
	g.body = gzip.NewWriter(g.ResponseWriter)
	g.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (g *gzipWriter) Write(p []byte) (int, error) {
	if g.body == nil {
		g.WriteHeader(http.StatusOK)
	}
	return g.body.Write(p)
}

// FlushError sends what was written so far. It implements the interface of http.ResponseController.
func (g *gzipWriter) FlushError() error {
	if g.body != nil {
		if err := g.body.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(g.ResponseWriter).Flush()
}

// Unwrap gives http.ResponseController access to the connection.
func (g *gzipWriter) Unwrap() http.ResponseWriter { return g.ResponseWriter }
