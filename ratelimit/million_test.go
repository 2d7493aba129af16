//go:build !race

package ratelimit_test

const million = 1_000_000
