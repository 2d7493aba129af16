package alert

import (
	"fmt"
	"maps"
	"time"
)

// webhookBody is the JSON of Alertmanager's webhook (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config).
type webhookBody struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []webhookAlert    `json:"alerts"`
}

type webhookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"` // year 1: it is firing
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

func encodeWebhook(r *Receiver, n *notification, _ time.Time) (*message, error) {
	body := webhookBody{
		Version: "4", GroupKey: fmt.Sprintf(`{}:{pool=%q}`, n.pool), Status: n.status(), Receiver: n.name,
		GroupLabels: map[string]string{"pool": n.pool}, ExternalURL: n.url,
	}
	for i := range n.alerts {
		a := &n.alerts[i]
		out := webhookAlert{
			Status: "resolved", Labels: a.labels(), Annotations: map[string]string{"summary": a.Summary},
			StartsAt: a.Begin.UTC(), EndsAt: a.End.UTC(), GeneratorURL: n.url, Fingerprint: a.fingerprint(),
		}
		if a.Firing() {
			out.Status = "firing"
		}
		body.CommonLabels = common(body.CommonLabels, out.Labels)
		body.CommonAnnotations = common(body.CommonAnnotations, out.Annotations)
		body.Alerts = append(body.Alerts, out)
	}
	return encoded(r.URL.Reveal(), body)
}

// common returns what both have alike. nil stands for everything.
func common(all, its map[string]string) map[string]string {
	if all == nil {
		return maps.Clone(its)
	}
	maps.DeleteFunc(all, func(name, value string) bool { return its[name] != value })
	return all
}
