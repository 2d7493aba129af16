// Package retry decides what is worth trying again, and when.
package retry

// Policy bounds and spaces the attempts of a call.
type Policy struct{}
