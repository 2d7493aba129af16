package provider

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

var (
	tooLarge = begins(`(?:the |your )?request (?:is )?too large|request entity too large|(?:the )?request payload size exceeds`)
	// limitThenRequest and requestThenLimit find both numbers of a message such as "Limit 7000, Used 0, Requested ~12903".
	limitThenRequest = regexp.MustCompile(`(?i)\blimit:? ~?([\d,]+)\b.{0,80}?\brequested:? ~?([\d,]+)`)
	requestThenLimit = regexp.MustCompile(`(?i)\brequest(?:ed|s)?\D{0,20}?([\d,]+)(?: \w+)? (?:tokens )?exceeds?\b\D{0,60}?([\d,]+)`)
)

// oversize reports whether a request costs more than its limit allows in a whole period, so that no wait helps.
func oversize(status int, message string) bool {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return true
	case status != http.StatusTooManyRequests && status != http.StatusBadRequest:
		return false
	case tooLarge.MatchString(message):
		return true
	}
	if m := limitThenRequest.FindStringSubmatch(message); m != nil {
		return number(m[2]) > number(m[1])
	}
	if m := requestThenLimit.FindStringSubmatch(message); m != nil {
		return number(m[1]) > number(m[2])
	}
	return false
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 10, 64) // of digits alone; a longer one is the largest
	return n
}
