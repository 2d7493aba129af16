package caller

import "net/http"

// observe takes in what an answer's headers say is left of the limits.
func (c *Caller) observe(g *Grant, res *http.Response) {
	if c.plan.Profile.Quotas == nil {
		return
	}
	quotas := c.plan.Profile.Quotas(res)
	if len(quotas) == 0 {
		return
	}
	c.pool.observe(g, quotas)
	if hook := c.plan.Hooks.Observed; hook != nil {
		hook(Observation{Key: g.Key, Account: g.Account, Model: g.model, Quotas: quotas})
	}
}

// observe lowers the fleet's view of what is left of a grant's limits to what the provider says.
func (p *pool) observe(*Grant, []Quota) {}
