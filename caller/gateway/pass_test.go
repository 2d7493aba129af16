package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/internal/testkit"
)

// A request reaches the provider as the client sent it, with the pool's key, and the answer comes back as it was.
func TestGateway_PassesRequestsThrough(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	body := make(chan string, 1)
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		seen <- r
		body <- string(text)
		w.Header().Set("X-Request-Id", "r1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"ok":true}`)
	}, options{})
	res, text := b.post(t, "/v1/any%2Fpath/at?all=1&key=x", `{"model":"m"}`,
		"Authorization", "Bearer mine", "X-Api-Key", "mine-too", "X-Penstock-Priority", "high", "Connection", "X-Hop", "X-Hop", "1", "X-Own", "2")
	got := testkit.Receive(t, "the request", seen)
	if got.RequestURI != "/v1/any%2Fpath/at?all=1&key=x" || testkit.Receive(t, "the body", body) != `{"model":"m"}` {
		t.Errorf("got %s, want the client's path and body", got.RequestURI)
	}
	want := http.Header{
		"Authorization": {"Bearer " + canary}, "Content-Type": {"application/json"}, "X-Own": {"2"}, "X-Api-Key": nil, "X-Hop": nil,
		"X-Penstock-Priority": nil, "X-Forwarded-For": nil,
	}
	for name, values := range want {
		if g := got.Header[name]; strings.Join(g, ",") != strings.Join(values, ",") {
			t.Errorf("got %s: %q, want %q", name, g, values)
		}
	}
	if res.StatusCode != http.StatusCreated || text != `{"ok":true}` || res.Header.Get("X-Request-Id") != "r1" {
		t.Errorf("got %d %q %v, want the provider's answer", res.StatusCode, text, res.Header)
	}
	if res.Header.Get("X-Penstock-Attempts") != "1" || res.Header.Get("X-Penstock-Waited") == "" || res.Header.Get("X-Penstock-Key") != "k1" {
		t.Errorf("got %v, want key, wait and attempts", res.Header)
	}
	b.permitsBack(t)
}

// Each event of a stream is flushed at once, and the permit is back when the client leaves in the middle.
func TestGateway_StreamsAtOnceAndEndsWithTheClient(t *testing.T) {
	t.Parallel()
	next, left := make(chan string), make(chan struct{})
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case text := <-next:
				_, _ = io.WriteString(w, text)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				close(left)
				return
			}
		}
	}, options{})
	ctx, cancel := context.WithCancel(testkit.Context(t))
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.front.URL+"/v1/chat/completions", strings.NewReader(`{"model":"m","stream":true}`))
	req.Header.Set("Content-Type", "application/json")
	go func() { next <- "data: 0\n\n" }()
	res, err := b.front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for i := range 3 {
		if i > 0 {
			next <- fmt.Sprintf("data: %d\n\n", i)
		}
		line, err := in.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v, want %q before the next event is sent", line, err, want)
		}
		_, _ = in.ReadString('\n')
	}
	if n := b.pool.Stats().CallsInFlight; n != 1 {
		t.Errorf("got %d calls in flight, want 1", n)
	}
	cancel()
	testkit.Receive(t, "the provider's request ends", left)
	b.permitsBack(t)
}

// A client that leaves while its call waits takes the call out of the queue.
func TestGateway_EndsWaitingCallsWithTheClient(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}, options{pool: func(c *caller.Config) { c.Concurrency = 1 }})
	ctx, cancel := context.WithCancel(testkit.Context(t))
	defer cancel()
	for range 2 {
		go func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, b.front.URL+"/v1/x", strings.NewReader("{}"))
			if res, err := b.front.Client().Do(req); err == nil {
				res.Body.Close()
			}
		}()
	}
	testkit.Eventually(t, "one call waits", func() bool { s := b.pool.Stats(); return s.CallsInFlight == 1 && s.CallsWaiting == 1 })
	cancel()
	b.permitsBack(t)
	close(end)
}

// An upgraded connection carries bytes both ways until one side ends it.
func TestGateway_PassesUpgradesThrough(t *testing.T) {
	t.Parallel()
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			w.WriteHeader(http.StatusUpgradeRequired)
			return
		}
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("echo " + line))
		}
	}, options{})
	conn, err := net.Dial("tcp", b.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	fmt.Fprintf(conn, "GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want 101", res, err)
	}
	for _, text := range []string{"one\n", "two\n"} {
		_, _ = io.WriteString(conn, text)
		if line, err := in.ReadString('\n'); err != nil || line != "echo "+text {
			t.Fatalf("got %q, %v, want the echo of %q", line, err, text)
		}
	}
	if n := b.pool.Stats().CallsInFlight; n != 1 {
		t.Errorf("got %d calls in flight, want 1", n)
	}
	conn.Close()
	b.permitsBack(t)
}

// An upload that is larger than the buffer goes on as it arrives, and Expect lets the provider refuse it before.
func TestGateway_PassesLargeUploadsOn(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 1)
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		first := make([]byte, 1)
		_, _ = io.ReadFull(r.Body, first)
		begun <- struct{}{}
		sum := sha256.New()
		sum.Write(first)
		n, _ := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %x", n+1, sum.Sum(nil))
	}, options{gateway: func(c *gateway.Config) { c.Buffer = 64 << 10 }})
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	want := fmt.Sprintf("%d %x", len(data), sha256.Sum256(data))
	for _, length := range []int64{int64(len(data)), -1} {
		pr, pw := io.Pipe()
		go func() {
			_, _ = pw.Write(data[:len(data)/2])
			select {
			case <-begun: // the provider has the beginning before the client has sent the end
			case <-t.Context().Done():
			}
			_, _ = pw.Write(data[len(data)/2:])
			_ = pw.Close()
		}()
		req, _ := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, b.front.URL+"/v1/files", pr)
		req.ContentLength = length
		req.Header.Set("Content-Type", "application/octet-stream")
		if res, text := b.send(t, req); res.StatusCode != http.StatusOK || text != want {
			t.Errorf("got %d %q, want %q", res.StatusCode, text, want)
		}
	}
	read := false
	req, _ := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, b.front.URL+"/refuse", io.NopCloser(readerFunc(func(p []byte) (int, error) {
		read = true
		return 0, io.ErrUnexpectedEOF
	})))
	req.ContentLength = 1 << 20
	req.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: testkit.Patience}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden || read {
		t.Errorf("got %d, body read: %v; want 403 before the body is sent", res.StatusCode, read)
	}
	b.permitsBack(t)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Trailers go both ways.
func TestGateway_PassesTrailersBothWays(t *testing.T) {
	t.Parallel()
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "%s %s", text, r.Trailer.Get("X-Check"))
		w.Header().Set("X-Sum", "7")
	}, options{gateway: func(c *gateway.Config) { c.Buffer = 1 << 10 }})
	for _, size := range []int{10, 100_000} {
		text := strings.Repeat("x", size)
		req, _ := http.NewRequestWithContext(testkit.Context(t), http.MethodPost, b.front.URL+"/v1/x", io.NopCloser(strings.NewReader(text)))
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Check": {"5"}}
		res, got := b.send(t, req)
		if got != text+" 5" || res.Trailer.Get("X-Sum") != "7" {
			t.Errorf("got %.40q and trailer %v, want both trailers", got[max(0, len(got)-20):], res.Trailer)
		}
	}
}

// The handler serves HTTP/2, with and without TLS.
func TestGateway_ServesHTTP2(t *testing.T) {
	t.Parallel()
	provider := func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(text)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	b := serve(t, provider, options{front: func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}})
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	res, err := client.Post(b.front.URL+"/v1/x", "application/json", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.ProtoMajor != 2 || string(text) != `{"a":1}` {
		t.Errorf("got HTTP/%d and %q, want HTTP/2 and the body", res.ProtoMajor, text)
	}
}
