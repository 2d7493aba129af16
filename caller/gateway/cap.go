package gateway

import "github.com/penstock/penstock/caller"

// Cap limits what a client uses in each minute or day of UTC.
type Cap struct {
	// Metric is caller.Requests, caller.Tokens or caller.MicroDollars. Required.
	Metric caller.Metric
	// Limit is the number of units. At least 1.
	Limit int64
	// PerDay counts days in place of minutes. Defaults to false.
	PerDay bool
}
