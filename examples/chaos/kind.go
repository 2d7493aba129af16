package main

import (
	"slices"
	"time"
)

// Values of -servers.
const (
	single   = "single"
	sentinel = "sentinel"
	cluster  = "cluster"
)

// kind is a kind of fault.
type kind struct {
	name    string
	what    string
	subject string        // what it happens to; two faults don't happen to one subject at once
	servers []string      // values of -servers that it fits; empty: all
	least   time.Duration // it lasts from here to most
	most    time.Duration
	// beyondTTL adds the pool's SessionTTL to how long it lasts.
	beyondTTL bool
	// recovers bounds the time until throughput is back. 0: it is not judged.
	recovers  time.Duration
	loses     bool          // Redis loses what it had acknowledged
	throttles bool          // 429s are expected
	ready     func(*driver) // waits until the fault can happen; nil: it always can
	begin     func(*driver, planned)
	end       func(*driver, planned) // nil for a fault that is over when it has begun
}

func (k *kind) fits(servers string) bool {
	return len(k.servers) == 0 || slices.Contains(k.servers, servers)
}

// Bounds of recovery.
const (
	quick      = 2 * time.Second
	noJudgment = 0
)

var (
	onSingle   = []string{single}
	onSentinel = []string{sentinel}
	onCluster  = []string{cluster}
)

const (
	ms     = time.Millisecond
	second = time.Second
)

// kinds are all kinds of fault.
var kinds = slices.Concat(redisKinds, linkKinds, providerKinds, accountKinds, workerKinds, serversKinds)

var redisKinds = []*kind{
	{name: "redis-stop", what: "SIGSTOP of Redis for 1 to 2.5 s", subject: "redis", servers: onSingle,
		least: second, most: 2500 * ms, recovers: quick, begin: stopRedis, end: continueRedis},
	{name: "redis-crash", what: "kill -9 of Redis, and a restart with its append-only file", subject: "redis", servers: onSingle,
		least: 200 * ms, most: second, recovers: quick, begin: killRedis, end: restartRedis},
	{name: "redis-torn", what: "the same, and the append-only file lacks its last 20 %", subject: "redis", servers: onSingle,
		least: 200 * ms, most: second, recovers: quick, loses: true, begin: killRedis, end: restartTorn},
	{name: "redis-empty", what: "kill -9 of Redis, and a quick restart without data", subject: "redis", servers: onSingle,
		least: 50 * ms, most: 200 * ms, recovers: quick, loses: true, begin: killRedis, end: restartEmpty},
	{name: "flushall", what: "FLUSHALL", subject: "redis", servers: onSingle, recovers: quick, loses: true, begin: flushAll},
	{name: "script-flush", what: "SCRIPT FLUSH", subject: "redis", servers: onSingle, recovers: quick, begin: scriptFlush},
	{name: "client-kill", what: "CLIENT KILL of all clients", subject: "redis", servers: onSingle, recovers: quick, begin: clientKill},
	{name: "oom", what: "maxmemory is reached for 0.4 s", subject: "redis", servers: onSingle,
		least: 400 * ms, most: 400 * ms, recovers: quick, begin: outOfMemory, end: enoughMemory},
	{name: "max-clients", what: "clients are refused for 1 s: max number of clients reached", subject: "redis", servers: onSingle,
		least: second, most: second, recovers: quick, begin: refuseClients, end: acceptClients},
	{name: "busy", what: "a script keeps Redis busy for 1 to 2 s", subject: "redis", servers: onSingle,
		least: second, most: 2 * second, recovers: quick, begin: keepBusy, end: killScript},
}

var linkKinds = []*kind{
	{name: "link-slow", what: "replies of Redis are late by 300 ms, for 1 to 2 s", subject: "link", servers: onSingle,
		least: second, most: 2 * second, recovers: quick, begin: slowLink, end: healLink},
	{name: "link-mute", what: "the way to Redis swallows everything, for 1 to 2.5 s", subject: "link", servers: onSingle,
		least: second, most: 2500 * ms, recovers: quick, begin: muteLink, end: healLink},
	{name: "link-cut", what: "all connections to Redis are reset", subject: "link", servers: onSingle, recovers: quick, begin: cutLink},
	{name: "link-half", what: "replies of Redis are cut in half, for 0.5 s", subject: "link", servers: onSingle,
		least: 500 * ms, most: 500 * ms, recovers: quick, begin: halveLink, end: healLink},
}

var providerKinds = []*kind{
	{name: "storm", what: "the provider answers 429 for 5 s, though no limit is exceeded", subject: "provider",
		least: 5 * second, most: 5 * second, recovers: quick, begin: storm, end: calm},
	{name: "overloaded", what: "half of the answers are 503, for 2 to 4 s", subject: "provider",
		least: 2 * second, most: 4 * second, recovers: quick, begin: failing("overloaded", 0.5), end: failing("overloaded", 0)},
	{name: "hang", what: "a fifth of the calls is never answered, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: quick + defaultLoad.AttemptTimeout, begin: failing("hang", 0.2), end: failing("hang", 0)},
	{name: "cut-body", what: "a third of the answers is cut in mid-body, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: quick, begin: failing("cut", 1./3), end: failing("cut", 0)},
	{name: "stall", what: "a tenth of the answers stalls in mid-body, for 1 s", subject: "provider",
		least: second, most: second, recovers: quick + defaultLoad.AttemptTimeout, begin: failing("stall", 0.1), end: failing("stall", 0)},
	{name: "embedded", what: "a fifth of the answers is an error under status 200, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: quick, begin: failing("embedded", 0.2), end: failing("embedded", 0)},
	{name: "empty", what: "a fifth of the answers is empty, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: quick, begin: failing("empty", 0.2), end: failing("empty", 0)},
	{name: "page", what: "a fifth of the answers is a page of HTML, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: quick, begin: failing("page", 0.2), end: failing("page", 0)},
	{name: "blip", what: "one answer in fifty is a 401 though the key is valid, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: quick, begin: failing("blip", 0.02), end: failing("blip", 0)},
	{name: "provider-slow", what: "answers take three times as long, for 2 to 4 s", subject: "provider",
		least: 2 * second, most: 4 * second, recovers: quick + 1650*ms, begin: slowProvider, end: usualProvider},
	{name: "provider-late", what: "requests reach the provider later by 300 ms, for 2 s", subject: "provider",
		least: 2 * second, most: 2 * second, recovers: noJudgment, throttles: true, begin: lateProvider, end: calm},
	{name: "provider-mute", what: "the way to the provider is silent for 1 to 2 s, then reset", subject: "provider",
		least: second, most: 2 * second, recovers: quick, begin: muteProvider, end: calm},
	{name: "provider-cut", what: "a reset takes the place of half of the answers, for 1 s", subject: "provider",
		least: second, most: second, recovers: quick, begin: cutProvider, end: calm},
}

var accountKinds = []*kind{
	{name: "revoked", what: "a key is revoked; after 3 s it is restored, and an operator enables it", subject: "account",
		least: 3 * second, most: 3 * second, recovers: quick, begin: revokeKey, end: restoreKey},
	{name: "no-credit", what: "an account is out of credit; after 3 s it is topped up, and an operator enables it", subject: "account",
		least: 3 * second, most: 3 * second, recovers: quick, begin: takeCredit, end: topUp},
	{name: "foreign", what: "another client takes half of an account, for 3 to 5 s", subject: "account",
		least: 3 * second, most: 5 * second, throttles: true, begin: foreignUse, end: foreignEnd},
}

var workerKinds = []*kind{
	{name: "worker-stop", what: "SIGSTOP of a worker for 1.5 s longer than the SessionTTL", subject: "worker",
		least: 1500 * ms, most: 1500 * ms, beyondTTL: true, recovers: defaultLoad.SessionTTL / 3, begin: stopWorker, end: continueWorker},
	{name: "worker-kill", what: "kill -9 of a worker, started again after 0.2 to 1 s", subject: "worker",
		least: 200 * ms, most: second, recovers: defaultLoad.SessionTTL + quick, begin: killWorker, end: restartWorker},
}

var serversKinds = []*kind{
	{name: "failover", what: "the master hands over in an orderly way", subject: "redis", servers: []string{sentinel, cluster},
		recovers: 2 * quick, ready: replicaReady, begin: failover},
	{name: "master-dies", what: "kill -9 of the master; a replica takes over", subject: "redis", servers: []string{sentinel, cluster},
		recovers: 2 * quick, loses: true, ready: replicaReady, begin: crashMaster},
	{name: "replica-lags", what: "kill -9 of the master when its replica lags by 1 s", subject: "redis", servers: onSentinel,
		recovers: 2 * quick, loses: true, ready: replicaReady, begin: crashLagging},
	{name: "slots-move", what: "the pool's slot moves to another master", subject: "redis", servers: onCluster,
		recovers: quick, begin: moveSlot},
}

func kindNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}
