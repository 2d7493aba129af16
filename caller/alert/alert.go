package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
)

// Severity is how much an alert matters.
type Severity string

// Values of Severity, which are also those of PagerDuty.
const (
	Critical Severity = "critical" // calls fail, or will soon
	Warning  Severity = "warning"
)

// Alert is one thing that is wrong, or was.
type Alert struct {
	Pool     string
	Rule     Rule
	Severity Severity
	Labels   map[string]string // such as account and key
	Summary  string            // one line for people, without secrets
	Begin    time.Time
	End      time.Time // zero: it is firing
}

// Firing reports whether the alert isn't over.
func (a *Alert) Firing() bool { return a.End.IsZero() }

// labels returns all labels, with those of the pool and the rule.
func (a *Alert) labels() map[string]string {
	all := map[string]string{"alertname": "penstock_" + string(a.Rule), "pool": a.Pool, "severity": string(a.Severity)}
	maps.Copy(all, a.Labels)
	return all
}

// fingerprint identifies the alert among all pools.
func (a *Alert) fingerprint() string {
	sum := sha256.Sum256([]byte(a.Pool + "\x00" + identity(a.Rule, a.Labels)))
	return hex.EncodeToString(sum[:8])
}

// title returns the alert as one line.
func (a *Alert) title() string {
	if a.Firing() {
		return "FIRING " + a.Pool + ": " + a.Summary
	}
	return "RESOLVED " + a.Pool + ": " + a.Summary
}

// identity returns what tells an alert from the others of a pool.
func identity(rule Rule, labels map[string]string) string {
	var id strings.Builder
	id.WriteString(string(rule))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		id.WriteString("\x00" + name + "\x00" + labels[name])
	}
	return id.String()
}

// notification is what a receiver gets at a time.
type notification struct {
	pool   string
	url    string
	name   string // of the receiver
	alerts []Alert
	at     time.Time
}

// status returns "firing" if an alert is, else "resolved".
func (n *notification) status() string {
	for i := range n.alerts {
		if n.alerts[i].Firing() {
			return "firing"
		}
	}
	return "resolved"
}

// text returns the alerts as lines of text.
func (n *notification) text() string {
	var text strings.Builder
	for i := range n.alerts {
		text.WriteString(n.alerts[i].title() + "\n")
	}
	return text.String() + n.url
}
