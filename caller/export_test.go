package caller

import "github.com/penstock/penstock/caller/internal/singleflight"

// SharedCallers returns the number of callers of Do with a string result that share a call.
func (c *Pool) SharedCallers(key string) int { return singleflight.Callers[string](&c.flights, key) }

// SharedRequests returns the number of requests that share a call.
func (c *Pool) SharedRequests(key string) int {
	return singleflight.Callers[*sharedResponse](&c.flights, key)
}
