package scripts

import (
	"cmp"
	"slices"
	"testing"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// shareScript calls fair_shares alone.
var shareScript = newScript("share", fairShareLua, `
local large
local s = { n = (#ARGV - 2) / 6, alloc = {}, need = {}, want = { {}, {}, {} }, total = { 0, 0, 0 }, due = 0, quick = 0 }
for i = 1, s.n do
  local a = 2 + (i - 1) * 6
  local waited = tonumber(ARGV[2]) - tonumber(ARGV[a + 3])
  s.due = waited >= SHARE_TURN and i or s.due
  s.quick = waited >= SHARE_QUICK and i or s.quick
  large = large or tonumber(ARGV[a + 2]) > 1
  s.alloc[i], s.need[i] = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  for level = 1, 3 do
    s.want[level][i] = tonumber(ARGV[a + 3 + level])
    s.total[level] = s.total[level] + s.want[level][i]
  end --
end
s.need = large and s.need
for level = 1, 3 do
  s.want[level] = s.total[level] > 0 and s.want[level] or nil
end
local contended = fair_shares(tonumber(ARGV[1]), s)
local reply = { contended and 1 or 0 }
for i = 1, s.n do
  reply[i + 1] = share_of(s, i)
end
return reply`)

func luaShares(t *rapid.T, rdb *redis.Client, limit int64, sessions []*sharer, now int64) (bool, []int64) {
	args := []any{limit, now}
	for _, s := range sessions {
		args = append(args, s.alloc, s.need, s.turn, s.want[0], s.want[1], s.want[2])
	}
	v, err := shareScript.run(t.Context(), rdb, []string{"k"}, args)
	if err != nil {
		t.Fatal(err)
	}
	n, err := integers(v, 1+len(sessions))
	if err != nil {
		t.Fatal(err)
	}
	return n[0] == 1, n[1:]
}

// drawSessions draws sessions in the order of their turns; large: with requests for more than one permit.
func drawSessions(t *rapid.T, limit int64, large bool) []*sharer {
	sessions := make([]*sharer, rapid.IntRange(1, 12).Draw(t, "sessions"))
	for i := range sessions {
		s := &sharer{
			alloc: rapid.Int64Range(0, limit).Draw(t, "alloc"),
			turn:  semStart - rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, 1000)).Draw(t, "waited"),
		}
		for level := range s.want {
			if rapid.Bool().Draw(t, "wants") {
				s.want[level] = rapid.Int64Range(0, 2*limit).Draw(t, "want")
			}
		}
		if d := s.demand(); d > 0 {
			s.need = 1
			if large {
				s.need = rapid.Int64Range(1, min(d, limit)).Draw(t, "need")
			}
		}
		sessions[i] = s
	}
	slices.SortFunc(sessions, byTurn)
	return sessions
}

func byTurn(a, b *sharer) int { return cmp.Compare(a.turn, b.turn) }

func (s *sharer) demand() int64 { return s.want[0] + s.want[1] + s.want[2] }

// upTo is what the session could use at a level and those above.
func (s *sharer) upTo(level int) (sum int64) {
	for l := range level + 1 {
		sum += s.want[l]
	}
	return sum
}

// The script and the model share a limit alike.
func TestFairShares_MatchTheModel(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		rapid.Check(t, func(t *rapid.T) {
			limit := rapid.Int64Range(0, 40).Draw(t, "limit")
			large := rapid.Bool().Draw(t, "large")
			sessions := drawSessions(t, limit, large && limit > 0)
			contended := fairShares(limit, sessions, semStart)
			checkShares(t, limit, sessions, contended, large)
			luaContended, shares := luaShares(t, rdb, limit, sessions, semStart)
			for i, s := range sessions {
				if shares[i] != s.share || contended != luaContended {
					t.Fatalf("session %d: Lua says %d, %v, the model %d, %v", i, shares[i], luaContended, s.share, contended)
				}
			}
		})
	})
}

func checkShares(t *rapid.T, limit int64, sessions []*sharer, contended, large bool) {
	var sum, demand int64
	for _, s := range sessions {
		sum, demand = sum+s.share, demand+s.demand()
		if s.share < 0 || s.share > s.demand() {
			t.Fatalf("a share of %d where %d are wanted", s.share, s.demand())
		}
	}
	if sum > limit {
		t.Fatalf("the shares' sum is %d, the limit %d", sum, limit)
	}
	if contended != (demand > limit) || (!contended && sum != demand) {
		t.Fatalf("%d are wanted of %d, contended %v, and %d are shared out", demand, limit, contended, sum)
	}
	if large || !contended {
		return
	}
	if sum != limit {
		t.Fatalf("%d of %d are shared out, although more are wanted", sum, limit)
	}
	for _, s := range sessions {
		for level := range 3 {
			if s.share < s.upTo(level) {
				checkLack(t, sessions, s, level)
				break
			}
		}
	}
}

// checkLack checks that a session which lacks something at a level lacks it fairly.
func checkLack(t *rapid.T, sessions []*sharer, s *sharer, level int) {
	mine := s.share - s.upTo(level-1)
	for _, o := range sessions {
		if o.share > o.upTo(level) {
			t.Fatalf("one session lacks permits at priority %d, and another has some at a lower one", level)
		}
		if theirs := o.share - o.upTo(level-1); theirs > mine+1 {
			t.Fatalf("one session lacks permits and has %d, and another has %d", mine, theirs)
		}
	}
}

// Every session is served again and again, however large its requests and however many there are: sessions that have
// more than their share release what they have, one permit or all at a time, and sessions that lack take what is free.
func TestFairShares_ServeEverySession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 20).Draw(t, "limit")
		n := rapid.IntRange(2, 8).Draw(t, "sessions")
		sessions := make([]*sharer, n)
		for i := range sessions {
			need := rapid.Int64Range(1, limit).Draw(t, "need")
			sessions[i] = &sharer{need: need, want: [3]int64{0, need * rapid.Int64Range(1, 5).Draw(t, "many"), 0}, turn: int64(i)}
		}
		served := make([]int, n)
		now := int64(1e9)
		for range 20 * n {
			for i, s := range sessions {
				now += 100
				s.step(t, sessions, limit, now, &served[i])
			}
		}
		if slices.Contains(served, 0) {
			t.Fatalf("served so often: %v", served)
		}
	})
}

// step is one report of a session: it gives back what it has above its share, or takes what is free up to it.
func (s *sharer) step(t *rapid.T, sessions []*sharer, limit, now int64, served *int) {
	sessions = slices.SortedFunc(slices.Values(sessions), byTurn)
	fairShares(limit, sessions, now)
	var used int64
	for _, o := range sessions {
		used += o.alloc
	}
	if used > limit {
		t.Fatalf("%d of %d are allocated", used, limit)
	}
	switch {
	case s.alloc > s.share:
		s.alloc -= s.need // a lease ends
		s.turn = now
	case min(s.share-s.alloc, limit-used-s.owed(sessions)) >= s.need:
		s.alloc += s.need * (min(s.share-s.alloc, limit-used-s.owed(sessions)) / s.need)
		s.turn = now
		*served++
	}
}
