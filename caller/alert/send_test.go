package alert

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/testkit"
)

// A receiver that is overloaded or down gets the notification again, one that refuses it doesn't, and no error has the URL's
// token or the secret.
func TestSend_RetriesAndKeepsSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		kind    Kind
		answers []string
		tries   int
		want    string // of the error; empty: success
	}{
		"down once":            {Webhook, []string{"500", "ok"}, 2, ""},
		"throttled once":       {Slack, []string{"429", "ok"}, 2, ""},
		"refused":              {Slack, []string{"400"}, 1, "status 400"},
		"down":                 {Webhook, []string{"500"}, sendAttempts, "status 500"},
		"busy once, by a code": {Feishu, []string{`{"code":11232,"msg":"frequency limited"}`, `{"code":0}`}, 2, ""},
		"refused by a code":    {DingTalk, []string{`{"errcode":310000,"errmsg":"sign not match for token=` + token + `"}`}, 1, "code 310000"},
		"no code":              {WeCom, []string{`<html>`}, 1, "check the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.answers...)
			a := alerter(t, Receiver{Kind: c.kind, URL: caller.NewSecret(f.URL + "/" + token)})
			err := a.send(testkit.Context(t), &a.cfg.Receivers[0], two())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("got %v, want no token in it", err)
			}
			if len(f.bodies) != c.tries {
				t.Errorf("got %d tries, want %d", len(f.bodies), c.tries)
			}
		})
	}
	a := alerter(t, Receiver{Kind: Webhook, URL: caller.NewSecret("http://127.0.0.1:1/" + token)})
	if err := a.send(testkit.Context(t), &a.cfg.Receivers[0], two()); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("nothing listens: got %v, want an error without the token", err)
	}
}

// A mistake in the Config is an error that says what to do, without a secret in it.
func TestNew_ChecksTheConfig(t *testing.T) {
	url := caller.NewSecret("https://h/" + token)
	for want, c := range map[string]Config{
		"Receivers is empty": {},
		"Window is 10s":      {Receivers: []Receiver{{Kind: Slack, URL: url}}, Window: 10e9},
		"FailureRate":        {Receivers: []Receiver{{Kind: Slack, URL: url}}, FailureRate: 15},
		"QuotaShare":         {Receivers: []Receiver{{Kind: Slack, URL: url}}, QuotaShare: 90},
		"MaxWait":            {Receivers: []Receiver{{Kind: Slack, URL: url}}, MaxWait: 30},
		"no rule":            {Receivers: []Receiver{{Kind: Slack, URL: url}}, Mute: []Rule{"drifts"}},
		"the Kind is":        {Receivers: []Receiver{{Kind: "teams", URL: url}}},
		"isn't one like":     {Receivers: []Receiver{{Kind: Slack, URL: caller.NewSecret("h/" + token)}}},
		"routing key":        {Receivers: []Receiver{{Kind: PagerDuty}}},
		"has no Secret":      {Receivers: []Receiver{{Kind: Slack, URL: url, Secret: caller.NewSecret("s")}}},
		"give each its own":  {Receivers: []Receiver{{Kind: Slack, URL: url}, {Kind: Slack, URL: url}}},
	} {
		_, err := c.completed()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("got %v, want %q without the token", err, want)
		}
	}
}

// Texts of others lose what looks like a secret, and their line breaks.
func TestClean_TakesOutSecrets(t *testing.T) {
	c := Config{Receivers: []Receiver{{Kind: Slack, URL: caller.NewSecret("https://hooks/" + token)}}}
	for in, want := range map[string]string{
		"401: Incorrect API key provided: sk-proj-abcdef123456.": "401: Incorrect API key provided: [redacted]",
		"dial redis://user:hunter2@redis:6379: refused\nagain":   "dial redis://[redacted]redis:6379: refused again",
		"Authorization: Bearer abcdefghijk":                      "Authorization: Bearer [redacted]",
		"post https://hooks/" + token + " failed":                "post [redacted] failed",
		"429 of gpt-4o": "429 of gpt-4o",
	} {
		if got := c.clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := c.clean(strings.Repeat("é", longestSummary)); len(got) > longestSummary || !strings.HasSuffix(got, "é…") {
		t.Errorf("a long text: got %d bytes, want %d at most, whole characters", len(got), longestSummary)
	}
}
