package apisim

import (
	"testing"
	"time"
)

// BenchmarkAdmit is the cost of one decision on a limit of 1.2 million calls a minute, all of them in the log.
func BenchmarkAdmit(b *testing.B) {
	var now time.Duration
	a := newAccount(Account{Limits: []Limit{
		{Metric: Requests, Limit: 1_200_000, Per: time.Minute}, {Metric: Tokens, Limit: 1 << 40, Per: time.Minute},
	}}, func() time.Duration { now += 50 * time.Microsecond; return now })
	k := &key{account: a, counts: newCounts()}
	c := &chatRequest{tokens: 100}
	for b.Loop() {
		if d := a.admit(k, c, "", false, false); !d.admitted {
			b.Fatal(d)
		}
		a.leave()
	}
}

// BenchmarkCall is a whole call over loopback, client included.
func BenchmarkCall(b *testing.B) {
	s, err := Start(Config{Accounts: []Account{{
		ID: "org", Keys: []Key{{ID: "k1", Secret: "sk-1"}}, Limits: []Limit{{Metric: Requests, Limit: 1 << 40, Per: time.Minute}},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	client := newClient()
	b.Cleanup(func() {
		client.CloseIdleConnections()
		_ = s.Close()
	})
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := send(b.Context(), client, s.URL(), request{})
			if err != nil || resp.status != 200 {
				b.Error(resp, err)
				return
			}
		}
	})
}
