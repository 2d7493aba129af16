package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/retry"
)

// Kind is the protocol of a Receiver.
type Kind string

// Values of Kind.
const (
	Webhook   Kind = "webhook"   // the JSON of Alertmanager's webhook, version 4
	Slack     Kind = "slack"     // incoming webhook
	DingTalk  Kind = "dingtalk"  // custom robot; with a Secret, signed
	WeCom     Kind = "wecom"     // group robot
	Feishu    Kind = "feishu"    // custom bot, also of Lark; with a Secret, signed
	PagerDuty Kind = "pagerduty" // Events API v2; the Secret is the integration's routing key
)

// Receiver is whom alerts are sent to.
type Receiver struct {
	Kind Kind
	// URL is the webhook's address, which is a secret with most kinds. Required, except with PagerDuty:
	// https://events.pagerduty.com/v2/enqueue, or that of another region.
	URL caller.Secret
	// Secret signs messages to DingTalk and Feishu, and is the routing key of PagerDuty. Other kinds have none.
	Secret caller.Secret
	// Name tells receivers apart, in errors and in Redis. It is no secret. Defaults to the kind.
	Name string
}

// protocol is how a kind of receiver is talked to.
type protocol struct {
	each   bool // a message has one alert
	signed bool // there may be a Secret
	encode func(r *Receiver, n *notification, now time.Time) (*message, error)
	// accepted returns an error if the body of an answer with a good status refuses the message. nil: it can't.
	accepted func(body []byte) error
}

func (k Kind) protocol() *protocol {
	switch k {
	case Webhook:
		return &protocol{encode: encodeWebhook}
	case Slack:
		return &protocol{encode: encodeSlack}
	case DingTalk:
		return &protocol{signed: true, encode: encodeDingTalk, accepted: acceptedByErrcode}
	case WeCom:
		return &protocol{encode: encodeWeCom, accepted: acceptedByErrcode}
	case Feishu:
		return &protocol{signed: true, encode: encodeFeishu, accepted: acceptedByFeishu}
	case PagerDuty:
		return &protocol{each: true, signed: true, encode: encodePagerDuty}
	default:
		return nil
	}
}

// complete fills in defaults, and returns an error that says what is wrong.
func (r *Receiver) complete() error {
	p := r.Kind.protocol()
	if p == nil {
		return fmt.Errorf("the Kind is %q: use %q", r.Kind, []Kind{Webhook, Slack, DingTalk, WeCom, Feishu, PagerDuty})
	}
	if r.Name == "" {
		r.Name = string(r.Kind)
	}
	if r.Kind == PagerDuty {
		if r.Secret.IsZero() {
			return errors.New("PagerDuty needs the routing key as Secret")
		}
		if r.URL.IsZero() {
			r.URL = caller.NewSecret(pagerDutyURL)
		}
	}
	if !r.Secret.IsZero() && !p.signed {
		return fmt.Errorf("a receiver of kind %q has no Secret: its URL is the secret", r.Kind)
	}
	if u, err := url.Parse(r.URL.Reveal()); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("the URL of %q isn't one like https://host/path", r.Name) // without the URL, which is a secret
	}
	return nil
}

// messages returns how many messages a notification is.
func (r *Receiver) messages(n *notification) int {
	if r.Kind.protocol().each {
		return len(n.alerts)
	}
	return 1
}

// message returns one of the messages of a notification.
func (r *Receiver) message(n *notification, i int, now time.Time) (*message, error) {
	p := r.Kind.protocol()
	if p.each {
		one := *n
		one.alerts = n.alerts[i : i+1]
		n = &one
	}
	return p.encode(r, n, now)
}

func (r *Receiver) accepted(body []byte) error {
	if accepted := r.Kind.protocol().accepted; accepted != nil {
		return accepted(body)
	}
	return nil
}

// encoded returns a message of a value in JSON.
func encoded(url string, v any) (*message, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return &message{url, body}, nil
}

// answered returns the error of a code in an answer; nil: success. By the codes of busy a receiver refuses a message for now.
func answered(code int, text string, busy ...int) error {
	if code == 0 {
		return nil
	}
	err := &refusal{status: http.StatusOK, code: code, text: text}
	if slices.Contains(busy, code) {
		return retry.After(err, time.Second)
	}
	return retry.Permanent(err)
}
