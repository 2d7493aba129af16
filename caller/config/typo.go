package config

import (
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

// common returns the metrics that have a meaning of their own.
func common() []caller.Metric {
	return []caller.Metric{caller.Requests, caller.Tokens, caller.InputTokens, caller.OutputTokens, caller.MicroDollars}
}

// maxTypo is how many letters a mistyped name differs by at most.
const maxTypo = 2

// meant returns the common metric that a name nearly is, if it is none itself.
func meant(name string) (caller.Metric, bool) {
	if slices.Contains(common(), caller.Metric(name)) {
		return "", false
	}
	for _, m := range common() {
		if distance(strings.ToLower(name), string(m)) <= maxTypo {
			return m, true
		}
	}
	return "", false
}

// distance is how many letters have to be put in, taken out or changed to make b of a (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
