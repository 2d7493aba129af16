package config

import (
	"slices"
	"strings"

	"github.com/penstock/penstock/caller"
)

// common returns the metrics of package caller.
func common() []caller.Metric {
	return []caller.Metric{caller.Requests, caller.Tokens, caller.InputTokens, caller.OutputTokens, caller.MicroDollars}
}

// maxTypo is the largest number of letters by which a mistyped name differs.
const maxTypo = 2

// meant returns the common metric that differs from a name by a few letters. The name of a common metric has none.
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

// distance is the number of letters to insert, remove or replace to turn a into b (Levenshtein 1966).
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
