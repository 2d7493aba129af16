package alert

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// credentials match what looks like a secret: the userinfo of a URL, a value after a word for it, and keys with the known
// prefixes of providers.
var credentials = []*regexp.Regexp{
	regexp.MustCompile(`(://)[^/\s@]+@`),
	regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+|(?:api[-_ ]?key|token|secret|password|sign|key)["']?\s*[=:]\s*["']?)[^\s,;&"']{8,}`),
	regexp.MustCompile(`()\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|github_pat|glpat|xox[abprs]|AIza|AKIA|ya29)[-_.A-Za-z0-9]{8,}`),
}

// longestSummary is the length of an alert's line, in bytes.
const longestSummary = 500

// clean returns a text of others, such as a provider's reason, as one line without secrets.
func (c *Config) clean(text string) string {
	for _, s := range c.secrets() {
		text = strings.ReplaceAll(text, s, "[redacted]")
	}
	for _, pattern := range credentials {
		text = pattern.ReplaceAllString(text, "$1[redacted]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return cut(text, longestSummary)
}

// cut returns at most n bytes of a text, whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}
