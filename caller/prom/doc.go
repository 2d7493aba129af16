// Package prom exports what Pools do as Prometheus metrics.
//
//	metrics, err := prom.New(prom.Config{})
//	...
//	prometheus.MustRegister(metrics)
//	cfg.Hooks = caller.JoinHooks(cfg.Hooks, metrics.Hooks(cfg.Name))
//
// The metrics are of three kinds:
//
//	events   counters and histograms, from the Pool's hooks; no lock and no allocation once a label set is known
//	levels   of this process, from Pool.Stats, read at a scrape
//	fleet    the state that all processes share, from Pool.Fleet, read from Redis at a scrape: the same in every process,
//	         so queries take the max and not the sum
//
// Every histogram has classic and native buckets. Labels have bounded values: pool, account, key ID, model, metric, outcome,
// priority, and names of the library. A secret or a provider's text is never a label.
package prom
