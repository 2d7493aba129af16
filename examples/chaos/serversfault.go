package main

import "github.com/penstock/penstock/internal/redistest"

// failover lets the master hand over to a replica.
func failover(d *driver, _ planned) {
	if d.servers.sentinel != nil {
		d.servers.sentinel.Failover()
		return
	}
	d.servers.cluster.Failover(d.servers.master())
}

// crashMaster kills the master, waits for its successor, and starts it again as a replica.
func crashMaster(d *driver, _ planned) { d.crash(d.servers.master()) }

func (d *driver) crash(master *redistest.Server) {
	if d.servers.sentinel != nil {
		d.servers.sentinel.Crash()
	} else {
		d.servers.cluster.Crash(master)
	}
	master.Restart()
}

// crashLagging keeps the replica from following the master for a second, and kills the master.
func crashLagging(d *driver, _ planned) {
	master := d.servers.master()
	admin := master.Client(d.t)
	ctx := d.t.Context()
	d.check(admin.Do(ctx, "ACL", "SETUSER", "default", "-psync", "-sync").Err())
	d.check(admin.Do(ctx, "CLIENT", "KILL", "TYPE", "replica").Err())
	d.sleep(second)
	d.crash(master)
}

// moveSlot moves the pool's slot to the master of another one.
func moveSlot(d *driver, p planned) {
	slot := d.servers.slot()
	owner := d.servers.cluster.Owner(slot)
	const slots = 16384
	for n := range slots {
		if other := d.servers.cluster.Owner((p.pick + n*997) % slots); other != owner {
			d.servers.cluster.Migrate(slot, other).Finish()
			return
		}
	}
}
