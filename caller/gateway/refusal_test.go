package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/caller/provider"
	"github.com/penstock/penstock/internal/testkit"
)

// A refusal has an honest status, the reason in the provider's shape, and says that a retry is no use.
func TestGateway_RefusalsSayWhy(t *testing.T) {
	t.Parallel()
	limit := func(n int64) func(*caller.Config) {
		return func(c *caller.Config) {
			c.Limits = []caller.Limit{
				{Metric: caller.Requests, Rate: n, Period: time.Hour}, {Metric: caller.Tokens, Rate: 1000, Period: time.Second},
			}
		}
	}
	for name, test := range map[string]struct {
		pool                 func(*caller.Config)
		gateway              func(*gateway.Config)
		path, body           string
		header               []string
		warm                 bool // one call before
		status               int
		code                 string
		retryAfter, attempts bool
	}{
		"priority":    {body: "{}", header: []string{"X-Penstock-Priority", "highest"}, status: 400, code: "bad_request"},
		"wait":        {body: "{}", header: []string{"X-Penstock-Wait", "soon"}, status: 400, code: "bad_request"},
		"timeout":     {body: "{}", header: []string{"X-Penstock-Timeout", "-1s"}, status: 400, code: "bad_request"},
		"idempotency": {body: "{}", header: []string{"X-Penstock-Idempotency", "maybe"}, status: 400, code: "bad_request"},
		"affinity":    {body: "{}", header: []string{"X-Penstock-Affinity", "\xff"}, status: 400, code: "bad_request"},
		"dots":        {path: "/v1/%2e%2e/x", body: "{}", status: 400, code: "bad_request"},
		"utf8":        {body: "{\"a\":\"\xff\"}", status: 400, code: "bad_request"},
		"too large": {
			body: `{"a":"` + strings.Repeat("x", 5000) + `"}`, status: 413, code: "body_too_large",
			gateway: func(c *gateway.Config) { c.Buffer, c.MaxBody = 1<<10, 2<<10 },
		},
		"never fits":     {pool: limit(10), body: `{"model":"m","max_tokens":100000}`, status: 413, code: "never_fits"},
		"client waits":   {pool: limit(1), warm: true, body: "{}", header: []string{"X-Penstock-Wait", "100ms"}, status: 429, code: "deadline"},
		"client's time":  {pool: limit(1), warm: true, body: "{}", header: []string{"X-Penstock-Timeout", "0.2"}, status: 429, code: "deadline"},
		"gateway waits":  {pool: limit(1), warm: true, body: "{}", gateway: func(c *gateway.Config) { c.MaxWait = 100 * time.Millisecond }, status: 429, code: "deadline", retryAfter: true},
		"anthropic":      {pool: func(c *caller.Config) { limit(1)(c); c.Profile = provider.Anthropic() }, warm: true, path: "/v1/messages", body: "{}", header: []string{"X-Penstock-Wait", "1"}, status: 429, code: "deadline"},
		"attempt's time": {path: "/slow", body: "{}", header: []string{"X-Penstock-Timeout", "100ms"}, status: 504, code: "timeout", attempts: true},
		"no answer":      {path: "/reset", body: "{}", header: []string{"X-Penstock-Idempotency", "no"}, status: 502, code: "no_answer", attempts: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				switch r.URL.Path {
				case "/slow":
					<-r.Context().Done()
				case "/reset":
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, `{"id":"1"}`)
			}, options{pool: test.pool, gateway: test.gateway})
			path := "/v1/chat/completions"
			if test.path != "" {
				path = test.path
			}
			if test.warm {
				if res, text := b.post(t, path, "{}"); res.StatusCode != http.StatusOK {
					t.Fatalf("got %d %s for the first call, want 200", res.StatusCode, text)
				}
			}
			res, text := b.post(t, path, test.body, test.header...)
			var e struct {
				Type  string
				Error struct{ Message, Type, Code string }
			}
			_ = json.Unmarshal([]byte(text), &e)
			if res.StatusCode != test.status || res.Header.Get("Penstock-Error") != test.code || e.Error.Message == "" {
				t.Errorf("got %d %q %s, want %d %q", res.StatusCode, res.Header.Get("Penstock-Error"), text, test.status, test.code)
			}
			if name == "anthropic" && e.Type != "error" {
				t.Errorf("got %s, want the shape of Anthropic's errors", text)
			}
			if res.Header.Get("X-Should-Retry") != "false" || (res.Header.Get("Retry-After") != "") != test.retryAfter {
				t.Errorf("got %v, want X-Should-Retry: false and Retry-After: %v", res.Header, test.retryAfter)
			}
			if n := res.Header.Get("X-Penstock-Attempts"); (n != "" && n != "0") != test.attempts {
				t.Errorf("got %q attempts, want some: %v", n, test.attempts)
			}
			b.permitsBack(t)
		})
	}
}

// A call that has to wait says for how long, and how many attempts it took.
func TestGateway_AnswersSayWaitAndAttempts(t *testing.T) {
	t.Parallel()
	n := 0
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, `{}`)
	}, options{pool: func(c *caller.Config) {
		c.Limits = []caller.Limit{{Metric: caller.Requests, Rate: 10, Period: 3 * time.Second, Burst: 1}}
	}})
	b.post(t, "/v1/chat/completions", "{}")
	res, _ := b.post(t, "/v1/chat/completions", "{}")
	waited, err := time.ParseDuration(res.Header.Get("X-Penstock-Waited"))
	if err != nil || waited < 100*time.Millisecond || waited > testkit.Patience || res.Header.Get("X-Penstock-Attempts") != "2" || res.StatusCode != http.StatusOK {
		t.Errorf("got %d, waited %v, %v attempts; want 200 after a wait and 2 attempts", res.StatusCode, waited, res.Header["X-Penstock-Attempts"])
	}
}

// The provider's key never comes back, wherever the provider quotes it, and however the bytes are cut.
func TestGateway_TheKeyNeverComesBack(t *testing.T) {
	t.Parallel()
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		secret := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if secret != canary {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		text := `{"message":"Incorrect API key ` + secret + `, sk-sk-` + secret + `"} sk-canary-` + secret
		w.Header().Set("X-Echo", secret)
		switch r.URL.Path {
		case "/redirect":
			w.Header().Set("Location", "http://"+r.Host+"/v1/next?key="+secret+"&a=1")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case "/401":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, text)
		case "/pieces":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range text {
				_, _ = w.Write([]byte(text[i : i+1]))
				_ = http.NewResponseController(w).Flush()
			}
		default:
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			_, _ = io.WriteString(w, text)
		}
	}, options{})
	client := b.front.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"/fine", "/pieces", "/redirect", "/401"} {
		res, text := b.post(t, path, "{}")
		if all := fmt.Sprint(res.Header, text, res.Trailer); strings.Contains(all, canary) || res.StatusCode == http.StatusTeapot {
			t.Errorf("got the key in the answer of %s: %s", path, all)
		}
		if path == "/redirect" && !strings.HasPrefix(res.Header.Get("Location"), "/v1/next?key=****") {
			t.Errorf("got Location %q, want a place at the gateway without the key", res.Header.Get("Location"))
		}
		if path == "/pieces" && (!strings.HasSuffix(text, "sk-canary-"+strings.Repeat("*", len(canary))) && !strings.HasSuffix(text, strings.Repeat("*", len(canary)-7))) {
			t.Errorf("got %q, want all but the key", text)
		}
	}
}

// A route is found by path and by model; a model that no route has is refused.
func TestGateway_RoutesByPathAndModel(t *testing.T) {
	t.Parallel()
	echo := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.URL.Path, " ", r.Header.Get("Authorization"))
	}
	b := serve(t, echo, options{gateway: func(c *gateway.Config) {
		c.Routes = []gateway.Route{{Path: "/main", Strip: true, Pool: "main"}, {Models: []string{"gpt-*", "o3"}, Pool: "main"}}
	}})
	for _, test := range []struct{ path, kind, body, want string }{
		{"/main/v1/x", "application/json", "{}", "/v1/x"},
		{"/mainly", "application/json", "{}", "404"},
		{"/v1/x", "application/json", `{"messages":[{"model":"x"}],"model":"gpt-4o"}`, "/v1/x"},
		{"/v1/x", "application/json", `{"model":"o3"}`, "/v1/x"},
		{"/v1/x", "application/json", `{"model":"o33"}`, "404"},
		{"/v1/x", "application/json", `{"model":"o3","model":"gpt-5"}`, "400"},
		{"/v1/x", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\no3\r\n--b--\r\n", "/v1/x"},
		{"/v1/x", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n", "404"},
	} {
		res, text := b.post(t, test.path, test.body, "Content-Type", test.kind)
		got := fmt.Sprint(res.StatusCode)
		if res.StatusCode == http.StatusOK {
			got, _, _ = strings.Cut(text, " ")
		}
		if got != test.want {
			t.Errorf("%s %s: got %s (%s), want %s", test.path, test.body, got, text, test.want)
		}
	}
}

// A configuration that can't work is an error that says what to change.
func TestNew_RefusesWrongConfigurations(t *testing.T) {
	t.Parallel()
	b := serve(t, func(http.ResponseWriter, *http.Request) {}, options{})
	pool := b.join(t, func(c *caller.Config) { c.Name = "q" })
	for want, cfg := range map[string]gateway.Config{
		"no pool has that name": {Routes: []gateway.Route{{Pool: "x"}}},
		"Route.Path":            {Routes: []gateway.Route{{Pool: "q", Path: "v1"}}},
		"Config.Buffer":         {Buffer: 1},
		"Config.MaxWait":        {MaxWait: -1},
	} {
		if _, err := gateway.New([]gateway.Pool{pool}, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := gateway.New(nil, gateway.Config{}); err == nil {
		t.Error("got no error, want one for no pools")
	}
}
