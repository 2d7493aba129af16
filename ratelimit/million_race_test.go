//go:build race

package ratelimit_test

const million = 100_000 // the race detector multiplies the time of each
