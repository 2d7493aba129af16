package scripts

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/internal/redistest"
)

// dice draws from a fuzzer's bytes, and from a generator that they seed once they are used up.
type dice struct {
	data []byte
	more *rand.Rand
}

func newDice(data []byte) *dice {
	var seed [32]byte
	copy(seed[:], data)
	return &dice{data, rand.New(rand.NewChaCha8(seed))}
}

func (d *dice) roll(n int) int {
	if len(d.data) == 0 {
		return d.more.IntN(n)
	}
	b := d.data[0]
	d.data = d.data[1:]
	return int(b) % n
}

// poolRun is a random history of calls of three sessions on one pool.
type poolRun struct {
	*dice
	now  int64
	seq  int64
	held map[string][]int
	base PoolCall
}

func newPoolRun(data []byte) *poolRun {
	r := &poolRun{dice: newDice(data), now: 300_000_000_000_000, held: map[string][]int{}}
	r.base = PoolCall{TTL: 2 * time.Second, Horizon: time.Duration(r.roll(4)) * 25 * time.Millisecond}
	for m := range r.roll(4) {
		r.base.Limits = append(r.base.Limits, PoolLimit{
			Name:     fmt.Sprintf("m:%d=", m),
			Interval: []float64{0.001, 0.0205, 1.0 / 3, 0.05}[r.roll(4)],
			Burst:    int64(1 + r.roll(3)*r.roll(20)),
		})
	}
	for a := range 1 + r.roll(3) {
		account := PoolAccount{Name: fmt.Sprintf("org %d,", a), Permits: r.roll(3) * r.roll(6)}
		for k := range r.roll(4) {
			account.Keys = append(account.Keys, fmt.Sprintf("k%d-%d", a, k))
		}
		r.base.Accounts = append(r.base.Accounts, account)
	}
	return r
}

// next is the next call.
func (r *poolRun) next() *PoolCall {
	r.now += int64(r.roll(5) * r.roll(30_000))
	if r.roll(40) == 0 {
		r.now += 3_000_000
	}
	r.seq++
	c := r.base
	c.Session, c.Seq, c.Now = fmt.Sprintf("s %d", r.roll(3)), r.seq, r.now
	if r.roll(20) == 0 {
		c.Seq -= 2
	}
	if r.roll(10) == 0 {
		c.Deadline = r.now + int64(r.roll(3)) - 1
	}
	held := r.held[c.Session]
	if held == nil {
		held = make([]int, len(c.Accounts))
	}
	c.Accounts = slices.Clone(c.Accounts)
	for i := range c.Accounts {
		held[i] = r.roll(held[i] + 1)
		c.Accounts[i].Held = held[i]
	}
	r.held[c.Session] = held
	for range max(0, r.roll(8)-5) {
		p := PoolReport{Off: r.roll(3) == 0, For: time.Duration(r.roll(200)) * time.Millisecond, Reason: "why not " + fmt.Sprint(r.roll(9))}
		a := c.Accounts[r.roll(len(c.Accounts))]
		p.Account, p.Name = true, a.Name
		if len(a.Keys) > 0 && r.roll(3) > 0 {
			p.Account, p.Name = false, a.Keys[r.roll(len(a.Keys))]
		}
		c.Reports = append(c.Reports, p)
	}
	for range r.roll(4) {
		d := PoolDemand{Count: 1 + r.roll(12)}
		for range c.Limits {
			d.Cost = append(d.Cost, int64(r.roll(3)*r.roll(9)))
		}
		c.Demands = append(c.Demands, d)
	}
	return &c
}

// check runs the history on Redis and on the model, and compares every answer and what is left.
func (r *poolRun) check(t *testing.T, rdb *redis.Client, steps int) {
	t.Helper()
	m := newPoolModel()
	pool := fmt.Sprintf("p{%d}", rand.Uint64())
	for range steps {
		c := r.next()
		want, wantErr := m.call(c)
		got, err := Admit(t.Context(), rdb, pool, c)
		if !errors.Is(err, wantErr) || !reflect.DeepEqual(got, want) {
			t.Fatalf("call %+v\n got %+v, %v\nwant %+v, %v", *c, got, err, want, wantErr)
		}
		if err == nil {
			for _, g := range got.Grants {
				r.held[c.Session][g.Account]++
			}
			m.checkFields(t, rdb, pool)
		}
	}
}

// checkFields compares the names of the fields in Redis with what the model keeps.
func (m *poolModel) checkFields(t *testing.T, rdb *redis.Client, pool string) {
	t.Helper()
	var want []string
	for name := range m.tat {
		want = append(want, "t:"+wireName(name[0])+":"+wireName(name[1]))
	}
	for name := range m.cursor {
		want = append(want, "r:"+wireName(name))
	}
	for name := range m.blocks {
		want = append(want, name[:2]+wireName(name[2:]))
	}
	for name := range m.sessions {
		want = append(want, "s:"+wireName(name))
	}
	got := slices.DeleteFunc(rdb.HKeys(t.Context(), PoolKey(pool)).Val(), func(f string) bool { return f == "x" })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("fields %q, want %q", got, want)
	}
}

func FuzzPool(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("one limit and three sessions"))
	f.Fuzz(func(t *testing.T, data []byte) {
		newPoolRun(data).check(t, redistest.Client(t), 30)
	})
}

func TestPoolMatchesTheModel(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for i := range 150 {
			newPoolRun(fmt.Append(nil, "seed ", i)).check(t, rdb, 40)
		}
	})
}
