package provider

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

const amount = `\d+(?:\.\d+)?`

// Forms of a wait in a message.
var (
	// waitPattern finds "try again in 9m38s", "please retry after 20 seconds" and their like.
	waitPattern = regexp.MustCompile(`(?i)\b(?:try again|retry(?:ing)?|resets?|replenished|available again|wait)\b[^.;\n\d]{0,40}?(` +
		`(?:` + amount + ` ?(?:days?|hours?|hrs?|minutes?|mins?|seconds?|secs?|milliseconds?|ms|[dhms])\b(?:,? and |, | )?|` +
		amount + `(?:h|m|s|ms))+|\d\d:\d\d:\d\d|` + amount + `\b)`)
	partPattern = regexp.MustCompile(`(?i)(\d+(?:\.\d+)?) ?([a-z]*)`)
	timePattern = regexp.MustCompile(`\b(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)?`)
)

// statedWait returns the wait that a message names, or the time until the moment that it names, in the zone where the
// message has none. It is 0 where the message names neither.
func statedWait(message string, now time.Time, zone *time.Location) time.Duration {
	if m := timePattern.FindStringSubmatch(message); m != nil {
		return untilStated(m, now, zone)
	}
	m := waitPattern.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	if parts := strings.Split(m[1], ":"); len(parts) == 3 {
		h, _ := strconv.Atoi(parts[0])
		minutes, _ := strconv.Atoi(parts[1])
		s, _ := strconv.Atoi(parts[2])
		return capped(time.Duration(h)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(s)*time.Second)
	}
	var seconds float64
	for _, part := range partPattern.FindAllStringSubmatch(m[1], -1) {
		n, err := strconv.ParseFloat(part[1], 64)
		if err != nil {
			return 0
		}
		seconds += n * unitSeconds(part[2])
	}
	return cappedSeconds(seconds)
}

// untilStated returns the time until a moment that timePattern found.
func untilStated(m []string, now time.Time, zone *time.Location) time.Duration {
	if m[3] != "" {
		at, err := time.Parse(time.RFC3339, m[1]+"T"+m[2]+m[3])
		if err != nil {
			return 0
		}
		return capped(at.Sub(now))
	}
	at, err := time.ParseInLocation(time.DateTime, m[1]+" "+m[2], zone)
	if err != nil {
		return 0
	}
	return capped(at.Sub(now))
}

// unitSeconds returns the seconds in a unit; a number without one is in seconds.
func unitSeconds(unit string) float64 {
	unit = strings.ToLower(unit)
	switch {
	case unit == "ms" || strings.HasPrefix(unit, "milli"):
		return 1e-3
	case strings.HasPrefix(unit, "d"):
		return 24 * 60 * 60
	case strings.HasPrefix(unit, "h"):
		return 60 * 60
	case strings.HasPrefix(unit, "m"):
		return 60
	}
	return 1
}

// cappedSeconds is a number of seconds as a duration, at most retry.MaxRetryAfter.
func cappedSeconds(s float64) time.Duration {
	return capped(time.Duration(min(s, 1e6) * float64(time.Second)))
}
