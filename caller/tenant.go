package caller

import (
	"errors"
	"fmt"

	"github.com/penstock/penstock/caller/internal/admission"
)

// Tenant is one of those who share a Pool inside one service: a customer, a team or a job. While calls of several tenants
// wait, over all processes, they share each limit by weight (start-time fair queueing), and what one leaves idle the others
// use. A call's priority counts among the calls of its tenant. Permits of Config.Concurrency are handed out by weight only
// among the tenants of a process.
type Tenant struct {
	// ID is the public name of the tenant, which Options.Tenant gives. Redis contains it. Empty: the tenant of all calls
	// that name another one or none, which has weight 1 unless it is listed.
	ID string
	// Weight is the tenant's share beside the weights of the others. From 0.001 to 1,000,000. Defaults to 1.
	Weight float64
	// Guaranteed is the share of the pool that the tenant gets whatever the others' weights are, and within the time that two
	// calls take of the limit when it wakes. To leave room for that, other calls are booked less far ahead. From 0 to less
	// than 1, those of all tenants together too. Defaults to 0.
	Guaranteed float64
}

// maxTenantWeight and minTenantWeight bound weights, so that shares can be computed.
const maxTenantWeight, minTenantWeight = 1_000_000, 0.001

// checkTenants checks the tenants and sets their defaults. The default tenant comes first.
func checkTenants(tenants []Tenant) ([]admission.Tenant, error) {
	if len(tenants) == 0 {
		return nil, nil
	}
	all, seen, sum := []admission.Tenant{{Weight: 1}}, map[string]bool{}, 0.0
	var errs []error
	for i, t := range tenants {
		if t.Weight == 0 {
			t.Weight = 1
		}
		switch {
		case seen[t.ID]:
			errs = append(errs, fmt.Errorf("Tenants[%d].ID is %q like another one's: give each its own", i, t.ID))
		case !(t.Weight >= minTenantWeight && t.Weight <= maxTenantWeight):
			errs = append(errs, fmt.Errorf("Tenants[%d].Weight is %v: use 0 for 1, or from %v to %d", i, t.Weight, minTenantWeight, maxTenantWeight))
		case !(t.Guaranteed >= 0 && t.Guaranteed < 1):
			errs = append(errs, fmt.Errorf("Tenants[%d].Guaranteed is %v: use a share from 0 to less than 1", i, t.Guaranteed))
		}
		seen[t.ID] = true
		sum += t.Guaranteed
		its := admission.Tenant{Name: t.ID, Weight: t.Weight, Guaranteed: t.Guaranteed}
		if t.ID == "" {
			all[0] = its
		} else {
			all = append(all, its)
		}
	}
	if sum >= 1 {
		errs = append(errs, fmt.Errorf("Guaranteed of all Tenants together is %v: leave less than 1", sum))
	}
	return all, errors.Join(errs...)
}
