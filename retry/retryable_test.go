package retry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/retry"
)

type statusError int

func (e statusError) Error() string   { return http.StatusText(int(e)) }
func (e statusError) StatusCode() int { return int(e) }

// Exactly the documented statuses are retryable, also as the StatusCode of a wrapped error.
func TestStatus_KnowsTransientStatuses(t *testing.T) {
	retryable := map[int]bool{408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true}
	for code := 520; code <= 530; code++ {
		retryable[code] = true
	}
	for code := -1; code < 1000; code++ {
		if got := retry.Status(code); got != retryable[code] {
			t.Errorf("Status(%d): got %v, want %v", code, got, retryable[code])
		}
		if got := retry.Retryable(fmt.Errorf("call: %w", statusError(code))); got != retryable[code] {
			t.Errorf("Retryable of status %d: got %v, want %v", code, got, retryable[code])
		}
	}
}

// busyError has a hint with a time and no advice.
type busyError struct{}

func (busyError) Error() string         { return "busy" }
func (busyError) RetryHint() retry.Hint { return retry.Hint{After: time.Second} }

// A hint decides first, then a network failure. Unknown errors are not retryable.
func TestRetryable_ByHintStatusAndNetwork(t *testing.T) {
	op := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errBoom, false},
		{retry.After(errBoom, time.Second), true},
		{retry.Immediately(errBoom), true},
		{fmt.Errorf("call: %w", busyError{}), true},
		{retry.Permanent(io.EOF), false},
		{fmt.Errorf("outer: %w", retry.Permanent(retry.After(errBoom, time.Second))), false},
		{op(os.NewSyscallError("read", syscall.ECONNRESET)), true},
		{&url.Error{Op: "Post", URL: "http://x", Err: op(syscall.ECONNREFUSED)}, true},
		{&url.Error{Op: "Post", URL: "http://x", Err: io.EOF}, true},
		{op(syscall.EACCES), false},
		{io.ErrUnexpectedEOF, true},
		{os.ErrDeadlineExceeded, true},
		{context.DeadlineExceeded, true},
		{context.Canceled, false},
		{&url.Error{Op: "Post", URL: "http://x", Err: context.Canceled}, false},
		{errors.Join(io.EOF, context.Canceled), false},
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, false},
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true, IsTemporary: true}, false},
		{&net.DNSError{Err: "server misbehaving", Name: "x", IsTemporary: true}, true},
		{&net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}, true},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		{op(&net.AddrError{Err: "missing port", Addr: "x"}), false},
		{errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"), true},
		{errors.New("stream error: stream ID 5; REFUSED_STREAM; received from peer"), true},
		{errors.New("http2: client connection force closed via ClientConn.Close"), true},
		{errors.New(`net/http: HTTP/1.x transport connection broken: malformed HTTP response "x"`), true},
		{&net.OpError{Op: "write", Err: net.ErrClosed}, true},
		{&net.OpError{Op: "local error", Err: tls.AlertError(20)}, true},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(80)}, true},
		{&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, false}, // bad certificate
		{&net.OpError{Op: "remote error", Err: tls.AlertError(70)}, false}, // protocol version
		{&retry.ProxyError{Status: 503}, true},
		{&retry.ProxyError{Status: 407}, false},
		{&url.Error{Op: "Post", URL: "http://x", Err: errors.New("Gateway Timeout")}, true},
		{errors.New("Proxy Authentication Required"), false},
	} {
		if got := retry.Retryable(c.err); got != c.want {
			t.Errorf("Retryable(%v): got %v, want %v", c.err, got, c.want)
		}
	}
}

// The errors that net/http really returns are classified as documented.
func TestRetryable_ForFailuresOfNetHTTP(t *testing.T) {
	reset := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}))
	defer reset.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hung.Close()

	client := &http.Client{Timeout: 100 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		name, url string
		want      bool
	}{
		{"reset", reset.URL, true},
		{"refused", gone.URL, true},
		{"hung", hung.URL, true},
		{"bad scheme", "gopher://127.0.0.1/", false},
		{"not TLS", "https" + gone.URL[len("http"):], true},
	} {
		resp, err := client.Post(c.url, "text/plain", nil)
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || retry.Retryable(err) != c.want {
			t.Errorf("%s: Retryable(%v): got %v, want %v", c.name, err, retry.Retryable(err), c.want)
		}
	}
	strict := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if _, err := strict.Get(secure.URL); err == nil || retry.Retryable(err) {
		t.Errorf("an unknown certificate: Retryable(%v): got true, want false", err)
	}
	if _, err := strict.Get("https" + hung.URL[len("http"):]); err == nil || retry.Retryable(err) {
		t.Errorf("a server without TLS: Retryable(%v): got true, want false", err)
	}
}
