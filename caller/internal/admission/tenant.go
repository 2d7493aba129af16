package admission

import "time"

// Tenant is one of those who share the pool inside this service. Tenants with calls that wait share each limit and the
// permits by weight. What one doesn't use is free for the others.
type Tenant struct {
	Name       string      // empty: the default, which calls of unknown tenants belong to
	Weight     float64     // more than 0
	Guaranteed float64     // share of the pool that the tenant has whatever the others ask for; from 0 to less than 1
	Max        []TenantMax // upper bounds
}

// TenantMax bounds what a tenant takes of a metric.
type TenantMax struct {
	Metric int           // by index
	Share  float64       // of each limit on the metric; 0: Rate counts
	Rate   int64         // units per Period
	Period time.Duration // of Rate
}
