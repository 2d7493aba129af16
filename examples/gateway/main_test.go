package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

func TestMain(m *testing.M) {
	redistest.Main(m, redistest.Programs{"gateway": func([]string) error {
		main()
		return nil
	}})
}

const canary = "sk-canary-0123456789abcdef"

// heldPermits matches a session that holds permits.
var heldPermits = regexp.MustCompile(`=[1-9]`)

// chat is the body of a chat completion.
const chat = `{"model":"gpt-4o","max_tokens":20,"messages":[{"role":"user","content":"hello to all of you"}]}`

// instance is a running gateway.
type instance struct {
	*redistest.Child
	url, admin string
}

func start(t *testing.T, args ...string) *instance {
	t.Helper()
	c := redistest.Process(t, "gateway", append([]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-watch", "20ms", "-log"}, args...)...)
	i := &instance{Child: c}
	i.url = c.Expect("gateway ")
	i.admin = c.Expect("admin ")
	return i
}

// write writes a configuration with one pool at a provider, and returns its path.
func write(t *testing.T, file, provider, more string) string {
	t.Helper()
	if file == "" {
		file = filepath.Join(t.TempDir(), "gateway.yaml")
	}
	text := fmt.Sprintf(`name: p
base_url: %s
provider: openai
keys: [{id: k1, secret: %s}]
limits: [{metric: requests, rate: 1000, period: 1s}]
%s`, provider, canary, more)
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

func simulator(t *testing.T, latency time.Duration) *apisim.Server {
	t.Helper()
	sim, err := apisim.Start(apisim.Config{
		Latency:  apisim.Latency{Min: latency},
		Accounts: []apisim.Account{{ID: "a", Keys: []apisim.Key{{ID: "k1", Secret: canary}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

func get(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(testkit.Context(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// -demo works with nothing else installed.
func TestGateway_DemoNeedsNothingElse(t *testing.T) {
	t.Parallel()
	g := start(t, "-demo")
	if status, text := get(t, "POST", g.url+"/v1/chat/completions", chat); status != http.StatusOK || !strings.Contains(text, "usage") {
		t.Errorf("got %d %s, want an answer", status, text)
	}
	if status, text := get(t, "POST", g.url+"/v1/chat/completions", strings.Replace(chat, "{", `{"stream":true,`, 1)); status != http.StatusOK || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("got %d %s, want a stream", status, text)
	}
	for _, url := range []string{g.url + "/healthz", g.url + "/readyz", g.admin + "/healthz", g.admin + "/readyz", g.admin + "/", g.admin + "/status/demo/"} {
		if status, text := get(t, "GET", url, ""); status != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", url, status, text)
		}
	}
}

// SIGTERM lets a stream end, and new connections are refused.
func TestGateway_DrainsOnSIGTERM(t *testing.T) {
	t.Parallel()
	sim := simulator(t, 3*time.Second)
	server := redistest.Start(t, redistest.WithTCP())
	g := start(t, "-config", write(t, "", sim.URL(), "concurrency: 5\n"), "-redis", "redis://"+server.Addr(), "-delay", "300ms")
	res, err := http.Post(g.url+"/v1/chat/completions", "application/json", strings.NewReader(strings.Replace(chat, "{", `{"stream":true,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data:") {
		t.Fatalf("got %q, %v, want the first event", line, err)
	}
	g.Signal(syscall.SIGTERM)
	testkit.Eventually(t, "not ready", func() bool {
		status, _ := get(t, "GET", g.admin+"/readyz", "")
		return status == http.StatusServiceUnavailable
	})
	rest, err := io.ReadAll(in)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("got %v and an end of %.40q, want the whole stream", err, rest[max(0, len(rest)-40):])
	}
	http.DefaultClient.CloseIdleConnections()
	if err := g.Wait(testkit.Patience); err != nil {
		t.Errorf("got %v, want exit code 0", err)
	}
	for name, value := range server.Client(t).HGetAll(t.Context(), "penstock:pool:{p}").Val() {
		if strings.HasPrefix(name, "s:") && heldPermits.MatchString(value) {
			t.Errorf("got session %s %s in Redis, want no permit held", name, value)
		}
	}
	if strings.Contains(g.Stderr(), canary) || strings.Contains(g.Stderr(), "hello to all") {
		t.Errorf("got a secret or a body in the log: %s", g.Stderr())
	}
}

// A changed file is used at once; a broken one changes nothing, and requests in flight end as they began.
func TestGateway_ReloadsItsConfiguration(t *testing.T) {
	t.Parallel()
	sim := simulator(t, time.Millisecond)
	file := write(t, "", sim.URL(), "")
	g := start(t, "-config", file, "-watch", "0")
	status := func(header ...string) int {
		s, _ := get(t, "POST", g.url+"/v1/chat/completions", chat, header...)
		return s
	}
	if s := status(); s != http.StatusOK {
		t.Fatalf("got %d, want 200", s)
	}
	write(t, file, sim.URL(), "clients: [{name: a, token: plain-token-0123456789}]\n")
	g.Signal(syscall.SIGHUP)
	testkit.Eventually(t, "the broken file is refused", func() bool { return strings.Contains(g.Stderr(), "stays as it is") })
	if strings.Contains(g.Stderr(), "plain-token") {
		t.Errorf("got the token in the log: %s", g.Stderr())
	}
	if s := status(); s != http.StatusOK {
		t.Errorf("got %d after a broken change, want 200 as before", s)
	}
	// printf token-0123456789abcdef | sha256sum
	write(t, file, sim.URL(), "clients: [{name: a, token_sha256: [3282c594dbdb33e245d995adcdafee3e13621a72aac16fda816cfb23cdc868c0]}]\n")
	g.Signal(syscall.SIGHUP)
	testkit.Eventually(t, "a token is needed", func() bool { return status() == http.StatusUnauthorized })
}

// The file is watched, too.
func TestGateway_WatchesItsConfiguration(t *testing.T) {
	t.Parallel()
	sim := simulator(t, time.Millisecond)
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("token-0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := write(t, "", sim.URL(), "")
	g := start(t, "-config", file)
	write(t, file, sim.URL(), "clients: [{name: a, token_file: "+tokens+"}]\nroutes: [{models: [gpt-*], pool: p}]\n")
	testkit.Eventually(t, "a token is needed", func() bool {
		s, _ := get(t, "POST", g.url+"/v1/chat/completions", chat)
		return s == http.StatusUnauthorized
	})
	for model, want := range map[string]int{"gpt-4o": http.StatusOK, "o3": http.StatusNotFound} {
		if s, text := get(t, "POST", g.url+"/v1/chat/completions", strings.Replace(chat, "gpt-4o", model, 1), "Authorization", "Bearer token-0123456789abcdef"); s != want {
			t.Errorf("%s: got %d %s, want %d", model, s, text, want)
		}
	}
}

// Requests that can be read as two different ones, or are too large or too slow, are refused; the next ones are served.
func TestGateway_RefusesHostileRequests(t *testing.T) {
	t.Parallel()
	sim := simulator(t, time.Millisecond)
	g := start(t, "-config", write(t, "", sim.URL(), "gateway: {buffer: 1024, max_body: 4096, client_idle: 300ms}\n"), "-header-timeout", "300ms", "-max-header", "4096")
	addr := strings.TrimPrefix(g.url, "http://")
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
	whole := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(chat), chat)
	for name, test := range map[string]struct{ text, want string }{
		"fine":                 {whole, "200"},
		"two lengths":          {head + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}{}{", "400"},
		"the same length":      {head + "Content-Length: 4\r\nContent-Length: 4\r\n\r\n{}{}", "400"},
		"TE and CL":            {head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "400"},
		"CL and TE":            {head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "400"},
		"TE twice":             {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "501"},
		"TE unknown":           {head + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "501"},
		"after a fine one":     {whole + head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "200 400"},
		"large head":           {head + "X: " + strings.Repeat("x", 20_000) + "\r\n\r\n", "431"},
		"large body":           {head + "Content-Length: 5000\r\n\r\n", "413"},
		"large chunked body":   {head + "Transfer-Encoding: chunked\r\n\r\n1400\r\n" + strings.Repeat("x", 0x1400) + "\r\n0\r\n\r\n", "413"},
		"slow head":            {"POST / HTTP/1.1\r\nHost", "4"},
		"slow body":            {head + "Content-Length: 10\r\n\r\n{", "408"},
		"invalid UTF-8":        {head + "Content-Length: 9\r\n\r\n{\"a\":\"\xff\"}", "400"},
		"invalid header":       {head + "X\x00: 1\r\n\r\n", "400"},
		"invalid method":       {"P\xffST / HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
		"no host":              {"GET / HTTP/1.1\r\n\r\n", "400"},
		"negative length":      {head + "Content-Length: -1\r\n\r\n", "400"},
		"bad chunk":            {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		"a colon with a space": {head + "Content-Length : 4\r\n\r\n{}{}", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
			_, _ = io.WriteString(conn, test.text)
			in := bufio.NewReader(conn)
			var got []string
			for range len(strings.Fields(test.want)) {
				res, err := http.ReadResponse(in, nil)
				if err != nil {
					got = append(got, err.Error())
					break
				}
				text, _ := io.ReadAll(res.Body)
				got = append(got, fmt.Sprint(res.StatusCode))
				if strings.Contains(string(text), canary) {
					t.Errorf("got the key in %s", text)
				}
			}
			if g := strings.Join(got, " "); !strings.HasPrefix(g, test.want) && !(name == "slow head" && strings.Contains(g, "EOF")) {
				t.Errorf("got %s, want %s", g, test.want)
			}
		})
	}
}
