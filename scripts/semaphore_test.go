package scripts

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/redistest"
	"github.com/redis/go-redis/v9"
)

const semStart = 300_000_000 * 1_000_000 // some time in 2026, in microseconds since 2017

// drive plays the calls that data encodes against Redis and the model, and compares what they answer and keep.
func drive(t *testing.T, rdb *redis.Client, data []byte) {
	model := &semModel{}
	name, now := "drive", int64(semStart)
	seq, seen := map[string]int64{}, map[string]SemaphoreVersion{}
	before := snapshot{model: model.clone()}
	for step := 0; len(data) >= 12; step, data = step+1, data[12:] {
		now += int64(data[0])*int64(data[0])*100 + 1 // up to 6.5 s
		if data[0] == 255 {
			now -= 20_000_000 // the clock was set
		}
		id := string(rune('A' + data[1]%5))
		if data[1] >= 232 && data[1] < 240 {
			model = before.lose(t, rdb, name, model, data[1]%4)
			continue
		}
		if data[1] >= 240 {
			if err := administer(t, rdb, model, name, id, now, data); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			continue
		}
		seq[id] += int64(data[2]%8) - 1
		r := &SemaphoreReport{
			Session: id, Seq: 10 + seq[id], TTL: time.Duration(1+data[3]%4) * time.Second, Now: now,
			Limit: int64(1 + data[4]%16), Version: int64(data[4] >> 6), Held: int64(data[5] % 8), Name: "host\x00\n" + id,
		}
		r.Alloc = r.Held + int64(data[6]%4)
		r.Need = int64(data[7] % 5)
		r.Want[data[8]%3] += r.Held
		if r.Need > 0 {
			r.Want[data[9]%3] += r.Need + int64(data[10]%32)
		}
		if data[11] > 240 {
			r.Deadline = now + int64(data[11]) - 250
		}
		if data[3] >= 128 {
			r.Adaptive = adaptiveFrom(data)
		}
		if data[9]%16 > 0 {
			r.Expected = seen[id]
		}
		if reply := compareReport(t, rdb, model, name, r); reply.State.Generation > 0 && data[10]%8 > 0 {
			seen[id] = reply.State
		}
		compareHash(t, rdb, model, name, step, r)
	}
}

func adaptiveFrom(data []byte) *SemaphoreAdaptive {
	a := &SemaphoreAdaptive{
		Gradient: data[3]&64 != 0, Min: int64(1 + data[4]%2), Initial: int64(1 + data[4]%20), Backoff: 0.9,
		Every: time.Duration(data[5]) * time.Millisecond, Tolerance: 1.5, Smoothing: 0.2, Queue: 4,
		Peak: int64(data[5] % 16), OK: int64(data[10] % 64), Total: time.Duration(data[11]) * 7 * time.Millisecond,
	}
	if data[9] > 200 {
		a.Dropped = int64(data[9] - 200)
	}
	return a
}

func compareReport(t *testing.T, rdb *redis.Client, model *semModel, name string, r *SemaphoreReport) *SemaphoreReply {
	t.Helper()
	got, err := ReportSemaphore(t.Context(), rdb, name, r)
	want, wantErr := model.report(r)
	if (err == nil) != (wantErr == nil) || (wantErr != nil && !errors.Is(err, wantErr)) {
		t.Fatalf("%+v\nredis: %v\nmodel: %v", r, err, wantErr)
	}
	if got == nil {
		t.Fatalf("%+v: no reply: %v", r, err)
	}
	if wantErr == nil {
		want.Again = got.Again // a hint
	}
	if *got != *want {
		t.Fatalf("%+v\nredis: %+v\nmodel: %+v", r, got, want)
	}
	return got
}

func compareHash(t *testing.T, rdb *redis.Client, model *semModel, name string, step int, r *SemaphoreReport) {
	t.Helper()
	have := rdb.HGetAll(t.Context(), SemaphoreKey(name)).Val()
	if ttl := rdb.PTTL(t.Context(), SemaphoreKey(name)).Val(); len(have) > 0 && ttl <= 0 {
		t.Fatalf("step %d: the HASH has no TTL: %v", step, ttl)
	}
	if err := model.compare(have); err != nil {
		t.Fatalf("step %d: %+v\n%v", step, r, err)
	}
}

func FuzzSemaphore(f *testing.F) {
	f.Add([]byte("the quick brown fox jumps over the lazy dog, and over it again"))
	f.Fuzz(func(t *testing.T, data []byte) {
		drive(t, redistest.Client(t), data[:min(len(data), 12*200)])
	})
}

func TestSemaphore_MatchesTheModel(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for seed := range 12 {
			data := make([]byte, 12*150)
			state := uint64(seed)*0x9E3779B97F4A7C15 + 1
			for i := range data {
				state ^= state << 13
				state ^= state >> 7
				state ^= state << 17
				data[i] = byte(state >> 32)
			}
			rdb.Del(t.Context(), SemaphoreKey("drive"))
			drive(t, rdb, data)
		}
	})
}

func TestSemaphore_TakesAnyName(t *testing.T) {
	seen := map[string]string{}
	for _, n := range []string{"a", "{a}", "a}b", "a:b", "", "\xff", "a%", "A"} {
		k := fmt.Sprint(SemaphoreKey(n), SemaphoreChannel(n, "x"))
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q share a key", n, other)
		}
		seen[k] = n
	}
}
