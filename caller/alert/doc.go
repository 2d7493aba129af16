// Package alert notifies people of what is wrong with a pool, and when it is over.
//
//	every replica:  Alerter.Run ──every 10 s──► lease in Redis: does this replica send?
//	the sender:     Pool.Fleet ─► rules (windows, hysteresis) ─► state in Redis ─► receivers
//
// Every replica runs an Alerter with the same Config. One of them holds a lease of 30 s and sends; if it dies, another one
// takes over within that time. What is firing, and what each receiver has got, is kept in Redis. So a takeover neither
// repeats an alert nor loses its end. A notification is repeated only if the sender dies, or its answer is lost, between the
// receiver's acceptance and the record of it. Alertmanager and PagerDuty recognise the repetition by its fingerprint.
//
// The rules judge the whole fleet by what its processes report every ten seconds (see caller.Fleet), in intervals of 30
// seconds. So no window is shorter than 30 seconds, and an alert is late by up to 20.
//
// Without Redis no replica knows of the others. The one that sent last reports that Redis is out of reach, and later that it
// is back, unless it ends before. If the state in Redis is lost, the sender
// restores it as it last read it, at most ten seconds before.
package alert
