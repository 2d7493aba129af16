package alert

import "time"

const (
	pagerDutyURL = "https://events.pagerduty.com/v2/enqueue"
	// longestEvent is the longest summary of PagerDuty, in characters.
	longestEvent = 1024
)

// pagerDutyEvent is an event of PagerDuty's Events API v2 (https://developer.pagerduty.com/docs/send-alert-event). An event
// with the same dedup_key is about the same alert.
type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	ClientURL  string            `json:"client_url,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  Severity          `json:"severity"`
	Timestamp time.Time         `json:"timestamp"`
	Component string            `json:"component"`
	Class     Rule              `json:"class"`
	Details   map[string]string `json:"custom_details"`
}

func encodePagerDuty(r *Receiver, n *notification, _ time.Time) (*message, error) {
	a := &n.alerts[0]
	event := pagerDutyEvent{RoutingKey: r.Secret.Reveal(), Action: "resolve", DedupKey: "penstock-" + a.fingerprint()}
	if a.Firing() {
		event.Action, event.Client, event.ClientURL = "trigger", "penstock", n.url
		event.Payload = &pagerDutyPayload{
			Summary: cut(a.Pool+": "+a.Summary, longestEvent), Source: a.Pool, Severity: a.Severity, Timestamp: a.Begin.UTC(),
			Component: "penstock", Class: a.Rule, Details: a.labels(),
		}
	}
	return encoded(r.URL.Reveal(), event)
}
