package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
)

// streaming is a front before a provider whose streams begin with one event, and go on until they are let end.
func streaming(b *testing.B, impl string) (front string, end func()) {
	b.Helper()
	over := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-over:
			_, _ = io.WriteString(w, "data: [DONE]\n\n")
		case <-r.Context().Done():
		}
	}))
	b.Cleanup(upstream.Close)
	at, _ := url.Parse(upstream.URL)
	base := caller.NewHTTPTransport(1024)
	base.DisableCompression = true
	b.Cleanup(base.CloseIdleConnections)
	var h http.Handler = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(at) }, Transport: base}
	switch impl {
	case "ours":
		h = benchGateway(b, base, at)
	case "direct":
		return upstream.URL, sync.OnceFunc(func() { close(over) })
	}
	server := httptest.NewServer(h)
	b.Cleanup(server.Close)
	return server.URL, sync.OnceFunc(func() { close(over) })
}

// openStream opens a stream and reads its first event.
func openStream(client *http.Client, front string) (io.ReadCloser, error) {
	body := strings.Replace(chat, "{", `{"stream":true,`, 1)
	res, err := client.Post(front+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if line, err := bufio.NewReaderSize(res.Body, 128).ReadString('\n'); err != nil || !strings.HasPrefix(line, "data:") {
		res.Body.Close()
		return nil, fmt.Errorf("status %d, %q, %w", res.StatusCode, line, err)
	}
	return res.Body, nil
}

// BenchmarkStream_FirstByte measures the time from a request to the first event of its stream.
func BenchmarkStream_FirstByte(b *testing.B) {
	for _, impl := range []string{"plain", "ours"} {
		b.Run("impl="+impl, func(b *testing.B) {
			front, end := streaming(b, impl)
			defer end()
			transport := caller.NewHTTPTransport(8)
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for b.Loop() {
				stream, err := openStream(client, front)
				if err != nil {
					b.Fatal(err)
				}
				stream.Close()
			}
		})
	}
}

// BenchmarkStream_Memory measures the heap and stacks of open streams, without those of the client and the provider: the
// streams that go directly to the provider are taken off.
func BenchmarkStream_Memory(b *testing.B) {
	const streams = 4000 // four file descriptors each
	for _, impl := range []string{"plain", "ours"} {
		b.Run(fmt.Sprintf("impl=%s/streams=%d", impl, streams), func(b *testing.B) {
			for b.Loop() {
				direct := openStreams(b, "direct", streams)
				b.ReportMetric(float64(openStreams(b, impl, streams)-direct)/1024, "KiB/stream")
			}
		})
	}
}

// openStreams returns the bytes in use for each of so many open streams.
func openStreams(b *testing.B, impl string, n int) int64 {
	b.Helper()
	front, end := streaming(b, impl)
	defer end()
	transport := caller.NewHTTPTransport(n)
	transport.WriteBufferSize, transport.ReadBufferSize = 1<<10, 1<<10
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	before := inUse()
	open, failed := make(chan io.ReadCloser, n), make(chan error, n)
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range work {
				stream, err := openStream(client, front)
				if err != nil {
					failed <- err
					return
				}
				open <- stream
			}
		})
	}
	all.Wait()
	close(open)
	close(failed)
	used := inUse() - before
	end()
	for stream := range open {
		_, _ = io.Copy(io.Discard, stream)
		stream.Close()
	}
	for err := range failed {
		b.Fatal(err)
	}
	return used / int64(n)
}

// inUse returns the bytes of the heap and stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse) //nolint:gosec // less than 2^63
}
