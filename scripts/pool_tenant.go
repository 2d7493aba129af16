package scripts

// PoolTenant is one of those who share a pool inside one service. While the calls of several wait, they share what the
// limits admit by weight. What one leaves is free for the others.
type PoolTenant struct {
	Name       string
	Weight     float64 // more than 0
	Guaranteed float64 // share of the pool that the tenant gets whatever the others ask for, from 0 to less than 1
}

// encodedTenant is a tenant as a call sends it.
type encodedTenant [3]any

func (c *EncodedConfig) encodeTenants(tenants []PoolTenant) {
	for _, t := range tenants {
		c.tenants = append(c.tenants, encodedTenant{"." + wireName(t.Name), fraction(t.Weight), fraction(t.Guaranteed)})
		c.guarded = c.guarded || t.Guaranteed > 0
	}
}

// addTenants writes how many demands there are, and the tenants that they are of.
func (a *poolArgs) addTenants(p *PoolCall) {
	c := p.Config
	if len(c.tenants) == 0 || len(p.Demands) == 0 {
		a.add(len(p.Demands))
		return
	}
	a.args = append(a.args, -len(p.Demands))
	guarded := 0
	if c.guarded {
		guarded = 1
	}
	a.add(guarded)
	at := len(a.args)
	a.args = append(a.args, nil)
	a.tenants = zeroed(a.tenants, len(c.tenants))
	sent := 0
	for i := range p.Demands {
		if t := p.Demands[i].Tenant; a.tenants[t] == 0 {
			sent++
			a.tenants[t] = sent
			a.args = append(a.args, c.tenants[t][:]...)
		}
	}
	a.args[at] = a.integer(int64(sent))
	for i := range p.Demands {
		a.add(a.tenants[p.Demands[i].Tenant])
	}
}
