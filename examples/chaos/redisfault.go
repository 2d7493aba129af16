package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func stopRedis(d *driver, _ planned) { d.servers.single.Pause() }

func continueRedis(d *driver, _ planned) { d.servers.single.Resume() }

func killRedis(d *driver, _ planned) { d.servers.single.Kill() }

func restartRedis(d *driver, _ planned) { d.servers.single.Restart() }

// restartEmpty restarts Redis without its files.
func restartEmpty(d *driver, _ planned) {
	d.check(os.RemoveAll(d.servers.aof))
	d.servers.single.Restart()
}

// restartTorn restarts Redis without the end of its append-only file, as after a crash of its machine.
func restartTorn(d *driver, _ planned) {
	const kept = 0.8
	d.check(filepath.WalkDir(d.servers.aof, func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".aof" {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Truncate(path, int64(kept*float64(info.Size())))
	}))
	d.servers.single.Restart()
}

func flushAll(d *driver, _ planned) { d.check(d.servers.admin.FlushAll(d.t.Context()).Err()) }

func scriptFlush(d *driver, _ planned) { d.check(d.servers.admin.ScriptFlush(d.t.Context()).Err()) }

func clientKill(d *driver, _ planned) {
	for _, class := range []string{"normal", "pubsub"} {
		d.check(d.servers.admin.ClientKillByFilter(d.t.Context(), "TYPE", class, "SKIPME", "yes").Err())
	}
}

// set changes a setting of Redis.
func (d *driver) set(name, value string) {
	d.t.Helper()
	d.check(d.servers.admin.ConfigSet(d.t.Context(), name, value).Err())
}

func outOfMemory(d *driver, _ planned) { d.set("maxmemory", "1") }

func enoughMemory(d *driver, _ planned) { d.set("maxmemory", "0") }

func refuseClients(d *driver, p planned) {
	d.set("maxclients", "1")
	clientKill(d, p)
}

func acceptClients(d *driver, _ planned) { d.set("maxclients", "10000") }

// keepBusy starts a script without an end. Redis answers BUSY from lua-time-limit on.
func keepBusy(d *driver, _ planned) {
	ctx := context.WithoutCancel(d.t.Context())
	rdb := d.servers.single.Client(d.t)
	go func() { _ = rdb.Eval(ctx, "while true do end", nil).Err() }() // ends with killScript
}

func killScript(d *driver, _ planned) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := d.servers.admin.ScriptKill(d.t.Context()).Err()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("kill the script that keeps Redis busy: %v", err)
		}
		d.sleep(20 * ms)
	}
}

func slowLink(d *driver, _ planned) { d.servers.relay.Slow(300 * ms) }

func muteLink(d *driver, _ planned) { d.servers.relay.Mute() }

func cutLink(d *driver, _ planned) { d.servers.relay.Cut() }

// halveLink cuts all replies in half.
func halveLink(d *driver, _ planned) { d.servers.relay.Halve(1 << 30) }

func healLink(d *driver, _ planned) { d.servers.relay.Heal() }
