package alert

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/testkit"
)

const token = "tok-5ecret-of-the-url"

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// two is a notification of one alert that fires and one that is over.
func two() *notification {
	return &notification{pool: "prod", url: "https://status.example", at: began, alerts: []Alert{
		{
			Pool: "prod", Rule: KeyDisabled, Severity: Warning, Labels: map[string]string{"account": "org", "key": "k1"},
			Summary: "key k1 of account org is disabled: <401>", Begin: began,
		},
		{Pool: "prod", Rule: FailureRate, Severity: Critical, Summary: "15 % of 300 calls failed in 1m0s", Begin: began, End: began.Add(time.Minute)},
	}}
}

// fake is a receiver's server, which answers in turn.
type fake struct {
	*httptest.Server
	bodies, queries []string
	answers         []string // a body; one that begins with a digit is a status
}

func newFake(t *testing.T, answers ...string) *fake {
	t.Helper()
	f := &fake{answers: answers}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.bodies, f.queries = append(f.bodies, string(body)), append(f.queries, r.URL.RawQuery)
		answer := f.answers[min(len(f.bodies), len(f.answers))-1]
		if strings.HasPrefix(answer, "5") || strings.HasPrefix(answer, "4") {
			http.Error(w, "no "+token, map[string]int{"500": 500, "400": 400, "429": 429}[answer])
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(f.Close)
	return f
}

// alerter returns an Alerter with one receiver.
func alerter(t *testing.T, r Receiver) *Alerter {
	t.Helper()
	cfg, err := Config{Receivers: []Receiver{r}}.completed()
	if err != nil {
		t.Fatal(err)
	}
	return &Alerter{cfg: cfg}
}

// Each kind of receiver gets exactly the documented bodies.
func TestReceivers_GetTheDocumentedFormat(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		secret string
		answer string
		want   []string
	}{
		{Webhook, "", "", []string{`{"version":"4","groupKey":"{}:{pool=\"prod\"}","truncatedAlerts":0,"status":"firing","receiver":"webhook",` +
			`"groupLabels":{"pool":"prod"},"commonLabels":{"pool":"prod"},"commonAnnotations":{},"externalURL":"https://status.example","alerts":[` +
			`{"status":"firing","labels":{"account":"org","alertname":"penstock_key_disabled","key":"k1","pool":"prod","severity":"warning"},` +
			`"annotations":{"summary":"key k1 of account org is disabled: \u003c401\u003e"},"startsAt":"2026-01-02T03:04:05Z",` +
			`"endsAt":"0001-01-01T00:00:00Z","generatorURL":"https://status.example","fingerprint":"FP0"},` +
			`{"status":"resolved","labels":{"alertname":"penstock_failure_rate","pool":"prod","severity":"critical"},` +
			`"annotations":{"summary":"15 % of 300 calls failed in 1m0s"},"startsAt":"2026-01-02T03:04:05Z",` +
			`"endsAt":"2026-01-02T03:05:05Z","generatorURL":"https://status.example","fingerprint":"FP1"}]}`}},
		{Slack, "", "ok", []string{`{"text":"FIRING prod: key k1 of account org is disabled: \u0026lt;401\u0026gt;\n` +
			`RESOLVED prod: 15 % of 300 calls failed in 1m0s\nhttps://status.example"}`}},
		{DingTalk, "SEC1", `{"errcode":0,"errmsg":"ok"}`, []string{`{"markdown":{"text":"**FIRING** prod: key k1 of account org is disabled: ` +
			`\u0026lt;401\u003e\n\n**RESOLVED** prod: 15 % of 300 calls failed in 1m0s\n\n[https://status.example](https://status.example)",` +
			`"title":"FIRING prod: key k1 of account org is disabled: \u003c401\u003e"},"msgtype":"markdown"}`}},
		{WeCom, "", `{"errcode":0,"errmsg":"ok"}`, []string{`{"markdown":{"content":"**FIRING** prod: key k1 of account org is disabled: ` +
			`\u0026lt;401\u003e\n\n**RESOLVED** prod: 15 % of 300 calls failed in 1m0s\n\n[https://status.example](https://status.example)"},` +
			`"msgtype":"markdown"}`}},
		{Feishu, "", `{"code":0,"msg":"success"}`, []string{`{"content":{"text":"FIRING prod: key k1 of account org is disabled: ` +
			`\u003c401\u003e\nRESOLVED prod: 15 % of 300 calls failed in 1m0s\nhttps://status.example"},"msg_type":"text"}`}},
		{PagerDuty, "routing", `{"status":"success"}`, []string{
			`{"routing_key":"routing","event_action":"trigger","dedup_key":"penstock-FP0","client":"penstock","client_url":"https://status.example",` +
				`"payload":{"summary":"prod: key k1 of account org is disabled: \u003c401\u003e","source":"prod","severity":"warning",` +
				`"timestamp":"2026-01-02T03:04:05Z","component":"penstock","class":"key_disabled","custom_details":{"account":"org",` +
				`"alertname":"penstock_key_disabled","key":"k1","pool":"prod","severity":"warning"}}}`,
			`{"routing_key":"routing","event_action":"resolve","dedup_key":"penstock-FP1"}`,
		}},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			f := newFake(t, c.answer)
			a := alerter(t, Receiver{Kind: c.kind, URL: caller.NewSecret(f.URL + "/?token=" + token), Secret: caller.NewSecret(c.secret)})
			n := two()
			if err := a.send(testkit.Context(t), &a.cfg.Receivers[0], n); err != nil {
				t.Fatal(err)
			}
			names := strings.NewReplacer("FP0", n.alerts[0].fingerprint(), "FP1", n.alerts[1].fingerprint())
			if len(f.bodies) != len(c.want) {
				t.Fatalf("got %d messages, want %d", len(f.bodies), len(c.want))
			}
			for i, want := range c.want {
				if want = names.Replace(want); f.bodies[i] != want {
					t.Errorf("got  %s\nwant %s", f.bodies[i], want)
				}
				if !strings.Contains(f.queries[i], "token="+token) {
					t.Errorf("query: got %q, want the token of the URL", f.queries[i])
				}
			}
		})
	}
}

// Signatures are those that the documents' examples compute (openssl dgst -sha256 -hmac … -binary | base64).
func TestReceivers_SignMessages(t *testing.T) {
	now := time.UnixMilli(1_599_360_473_123)
	ding := Receiver{Kind: DingTalk, URL: caller.NewSecret("https://h/send?access_token=T"), Secret: caller.NewSecret("this is secret")}
	m, err := ding.message(two(), 0, now)
	if err != nil {
		t.Fatal(err)
	}
	const signed = "https://h/send?access_token=T&sign=0eVlIU0GooHVuIBX6FZ86JNxxfy4qwhOlP5JU2uHmq4%3D&timestamp=1599360473123"
	if m.url != signed {
		t.Errorf("DingTalk: got %s, want %s", m.url, signed)
	}
	feishu := Receiver{Kind: Feishu, URL: caller.NewSecret("https://h/hook"), Secret: caller.NewSecret("demo")}
	if m, err = feishu.message(two(), 0, now); err != nil {
		t.Fatal(err)
	}
	if want := `"sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=","timestamp":"1599360473"}`; !strings.HasSuffix(string(m.body), want) {
		t.Errorf("Feishu: got %s, want it to end with %s", m.body, want)
	}
}
