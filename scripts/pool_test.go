package scripts

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// check runs the history on Redis and on the model, and compares every answer and what is left.
func (r *poolRun) check(t *testing.T, rdb *redis.Client, steps int) {
	t.Helper()
	m := newPoolModel()
	pool := fmt.Sprintf("p{%d}", rand.Uint64())
	for range steps {
		cfg, c := r.next()
		want, wantErr := m.admit(cfg, c)
		got, err := Admit(t.Context(), rdb, pool, c)
		if rule, ok := errors.AsType[*LimitsError](err); ok {
			if want, ok := errors.AsType[*LimitsError](wantErr); ok && *want == *rule {
				r.limits[cfg.Session], err = rule.Version, wantErr
			}
		}
		if !errors.Is(err, wantErr) || errors.Is(err, ErrLostAll) != errors.Is(wantErr, ErrLostAll) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\ncall %+v\n got %+v, %v\nwant %+v, %v\n%v\n%+v", *cfg, *c, got, err, want, wantErr, rdb.HGetAll(t.Context(), PoolKey(pool)).Val(), *m)
		}
		if err != nil {
			continue
		}
		r.seen[cfg.Session], r.limits[cfg.Session] = got.Version, m.limits.Version
		for _, g := range got.Grants {
			if cfg.permitsLimited() {
				r.held[cfg.Session][r.accountOf(g.Target)]++
			}
		}
		if os.Getenv("DBG") != "" {
			fmt.Printf("%+v\ncall %+v\n%+v\n%v\n\n", *cfg, *c, got, rdb.HGetAll(t.Context(), PoolKey(pool)).Val())
		}
		m.checkFields(t, rdb, pool, r.now)
	}
}

// checkFields compares the fields in Redis with what the model keeps. What is over may have been dropped.
func (m *poolModel) checkFields(t *testing.T, rdb *redis.Client, pool string, wall int64) {
	t.Helper()
	now := float64(wall)/1e6 + m.offset
	want := map[string]float64{} // until when each is needed
	for name, c := range m.counters {
		want["t:"+name] = max(c.tat+7200, c.burstUntil, c.since+c.recovery)
	}
	for name, c := range m.used {
		want["t:"+name] = c.end + m.offset
	}
	for name := range m.rounds {
		want["r:"+name] = 0
	}
	for name, b := range m.blocks {
		want[name] = b.until
		if b.off {
			want[name] += 86400
		}
	}
	for name := range m.adaptive {
		want["d:"+wireName(name)] = 0
	}
	taken := map[string]int{}
	for name, s := range m.sessions {
		want["s:"+wireName(name)] = s.end
		if s.ticket > 0 {
			want[fmt.Sprint("n:", s.ticket)] = math.Inf(1)
		}
		for account, n := range s.held {
			taken[account] += n
		}
	}
	if m.limits.Version > 0 {
		want["l"] = math.Inf(1)
	}
	fields := rdb.HGetAll(t.Context(), PoolKey(pool)).Val()
	for name, until := range want {
		if _, ok := fields[name]; !ok && until > now {
			t.Fatalf("field %q is gone, want it until %v, it is %v\n%+v %+v %v\n%v", name, until, now, m.counters, m.used, m.offset, fields)
		}
	}
	for name, value := range fields {
		if account, ok := strings.CutPrefix(name, "h:"); ok {
			account, _ = url.PathUnescape(account)
			if n, _, _ := strings.Cut(value, " "); n != strconv.Itoa(taken[account]) {
				t.Fatalf("taken of %q: got %q, want %d", account, value, taken[account])
			}
			continue
		}
		if target, ok := strings.CutPrefix(name, "r:"); ok {
			if next, _, _ := strings.Cut(value, " "); next != strconv.Itoa(m.rounds[target].next) {
				t.Fatalf("next key of %q: got %q, want %d", target, value, m.rounds[target].next)
			}
		}
		if _, ok := want[name]; !ok && !slices.Contains([]string{"g", "w", "i", "q", "c", "v"}, name) {
			t.Fatalf("field %q is %q, want none", name, value)
		}
	}
}

func FuzzPool(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("one limit and three sessions"))
	f.Fuzz(func(t *testing.T, data []byte) {
		newPoolRun(data).check(t, redistest.Client(t), 30)
	})
}
