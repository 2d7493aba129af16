package scripts

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// BenchmarkSessions simulates 1,000 sessions on one semaphore, of which some have demand at a time, and reports what
// one report costs inside Redis. Every call, one session gets demand, takes, gives back or leaves.
func BenchmarkSessions(b *testing.B) {
	for _, limit := range []int64{64, 1000} {
		for _, active := range []int{25, 50, 100, 200} {
			b.Run(fmt.Sprintf("limit=%d/sessions=1000/active=%d", limit, active), func(b *testing.B) {
				server := redistest.Start(b)
				benchSessions(b, server.Client(b), limit, active)
			})
		}
	}
}

func benchSessions(b *testing.B, rdb *redis.Client, limit int64, active int) {
	r := rand.New(rand.NewPCG(1, 2))
	var seq int64
	alloc := map[int]int64{}
	report := func(id int, held, need, want int64) {
		seq++
		reply, err := ReportSemaphore(b.Context(), rdb, "bench", &SemaphoreReport{
			Session: fmt.Sprintf("session-%04d-abcdefgh", id), Seq: seq, TTL: time.Minute, Limit: limit,
			Held: held, Alloc: held, Need: need, Want: [3]int64{0, held + want, 0}, Name: "host/12345",
		})
		if err != nil {
			b.Fatal(err)
		}
		alloc[id] = reply.Alloc
	}
	for id := range 1000 {
		report(id, 0, 1, 3)
		if id >= active {
			report(id, 0, 0, 0)
		}
	}
	from := r.IntN(1000)
	rdb.ConfigResetStat(b.Context())
	before := serverCPU(b, rdb)
	for i := 0; b.Loop(); i++ {
		id := i % active
		if i%(4*active) == 0 { // one leaves, and another comes
			report(from%active, 0, 0, 0)
			from++
		}
		report(id, r.Int64N(alloc[id]+1), 1, r.Int64N(20)+1)
	}
	b.StopTimer()
	m := regexp.MustCompile(`cmdstat_evalsha:.*usec_per_call=([0-9.]+)`).FindStringSubmatch(rdb.Info(b.Context(), "commandstats").Val())
	if m == nil {
		b.Fatal("no statistics")
	}
	us, _ := strconv.ParseFloat(m[1], 64)
	b.ReportMetric(us, "script-µs/call")
	// On a busy machine the time above counts the moments in which Redis didn't run, and this doesn't; but it counts all
	// that Redis does for a call.
	b.ReportMetric((serverCPU(b, rdb)-before)*1e6/float64(b.N), "server-cpu-µs/call")
}

// serverCPU returns the seconds that Redis' main thread has run.
func serverCPU(b *testing.B, rdb *redis.Client) (sum float64) {
	b.Helper()
	used := regexp.MustCompile(`used_cpu_(?:sys|user)_main_thread:([0-9.]+)`)
	for _, m := range used.FindAllStringSubmatch(rdb.Info(b.Context(), "cpu").Val(), -1) {
		s, _ := strconv.ParseFloat(m[1], 64)
		sum += s
	}
	return sum
}
