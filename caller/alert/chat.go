package alert

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Longest texts, in bytes: WeCom 4096, DingTalk 20000, Feishu 20 KiB, Slack 40,000 characters.
const longestWeCom, longestChat = 4096, 18_000

// encodeSlack is an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
func encodeSlack(r *Receiver, n *notification, _ time.Time) (*message, error) {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	return encoded(r.URL.Reveal(), map[string]string{"text": cut(escape.Replace(strings.TrimSpace(n.text())), longestChat)})
}

// encodeDingTalk is a custom robot (https://open.dingtalk.com/document/robots/custom-robot-access). The signature is
// base64(HMAC-SHA256(secret, milliseconds + "\n" + secret)).
func encodeDingTalk(r *Receiver, n *notification, now time.Time) (*message, error) {
	to, err := url.Parse(r.URL.Reveal())
	if err != nil {
		return nil, errors.New("the URL can't be parsed")
	}
	if secret := r.Secret.Reveal(); secret != "" {
		at := strconv.FormatInt(now.UnixMilli(), 10)
		q := to.Query()
		q.Set("timestamp", at)
		q.Set("sign", signature(secret, at+"\n"+secret))
		to.RawQuery = q.Encode()
	}
	return encoded(to.String(), map[string]any{
		"msgtype":  "markdown",
		"markdown": map[string]string{"title": cut(n.alerts[0].title(), 100), "text": cut(paragraphs(n), longestChat)},
	})
}

// encodeWeCom is a group robot (https://developer.work.weixin.qq.com/document/path/91770).
func encodeWeCom(r *Receiver, n *notification, _ time.Time) (*message, error) {
	return encoded(r.URL.Reveal(), map[string]any{
		"msgtype": "markdown", "markdown": map[string]string{"content": cut(paragraphs(n), longestWeCom)},
	})
}

// encodeFeishu is a custom bot (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot). The signature is
// base64(HMAC-SHA256(seconds + "\n" + secret, "")).
func encodeFeishu(r *Receiver, n *notification, now time.Time) (*message, error) {
	body := map[string]any{"msg_type": "text", "content": map[string]string{"text": cut(strings.TrimSpace(n.text()), longestChat)}}
	if secret := r.Secret.Reveal(); secret != "" {
		at := strconv.FormatInt(now.Unix(), 10)
		body["timestamp"], body["sign"] = at, signature(at+"\n"+secret, "")
	}
	return encoded(r.URL.Reveal(), body)
}

// signature returns the HMAC-SHA256 of a text in base64.
func signature(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// paragraphs returns the alerts as Markdown, in which one line break is none.
func paragraphs(n *notification) string {
	escape := strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "<", "&lt;", "#", `\#`)
	var all []string
	for i := range n.alerts {
		state, rest, _ := strings.Cut(n.alerts[i].title(), " ")
		all = append(all, fmt.Sprintf("**%s** %s", state, escape.Replace(rest)))
	}
	if n.url != "" {
		all = append(all, fmt.Sprintf("[%s](%s)", n.url, n.url))
	}
	return strings.Join(all, "\n\n")
}

// acceptedByErrcode reads the answers of DingTalk and WeCom, which have status 200. Both have codes for too many messages.
func acceptedByErrcode(body []byte) error {
	answer := struct {
		Code *int   `json:"errcode"`
		Text string `json:"errmsg"`
	}{}
	if json.Unmarshal(body, &answer) != nil || answer.Code == nil {
		return errNoCode
	}
	return answered(*answer.Code, answer.Text, -1, 130101, 410100, 45009, 45033)
}

// acceptedByFeishu reads the answers of Feishu, which have status 200. It has codes for too many messages.
func acceptedByFeishu(body []byte) error {
	answer := struct {
		Code *int   `json:"code"`
		Text string `json:"msg"`
	}{}
	if json.Unmarshal(body, &answer) != nil || answer.Code == nil {
		return errNoCode
	}
	return answered(*answer.Code, answer.Text, 9499, 11232)
}

var errNoCode = errors.New("the answer has no code: check the URL")
