package config

import (
	"regexp"
	"strings"
)

// renamed has the fields of earlier versions and what replaced them, by the mapping that they stood in.
var renamed = map[string]map[string]string{
	"": {
		"pool": "name", "slack": "tuning.arrival_jitter", "horizon": "tuning.horizon", "aging": "tuning.aging",
		"max_waiting": "tuning.max_waiting", "ttl": "tuning.session_ttl", "session": "tuning.session_name",
		"outlive_lease": "tuning.continue_on_lease_loss", "plain_errors": "transport.error_responses",
	},
	"limits":  {"limit": "rate", "per": "period", "headroom": "reserved"},
	"breaker": {"failures": "failure_threshold"},
	"tuning": {
		"slack": "arrival_jitter", "ttl": "session_ttl", "session": "session_name", "outlive_lease": "continue_on_lease_loss",
	},
	"transport": {"plain_errors": "error_responses", "return_errors": "error_responses"},
}

// negated has the renamed fields whose successor means the opposite.
var negated = map[string]bool{"plain_errors": true, "return_errors": true}

// renamedWords has the values of earlier versions and what replaced them.
var renamedWords = map[string]string{"headroom": "least_loaded", "in_order": "first_available"}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// newName returns what replaced a field of the mapping at a path.
func newName(path, name string) (string, bool) {
	now, ok := renamed[index.ReplaceAllString(path, "")][name]
	return now, ok
}

// sibling reports whether a new name belongs to the same mapping as the old one.
func sibling(name string) bool { return !strings.Contains(name, ".") }
