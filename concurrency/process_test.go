package concurrency

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Tests start this test binary as further processes, each with one semaphore. They exchange lines of JSON: a command on
// stdin, a reply on stdout.

const processEnv = "PENSTOCK_TEST_PROCESS"

// processConfig configures a process.
type processConfig struct {
	Network, Addr string
	DB            int
	Name          string
	Limit         int
	TTL           time.Duration
	IdleTimeout   time.Duration
	Poll          time.Duration
	Outage        OutagePolicy
}

// command is one action of a process. The commands of a process run concurrently.
type command struct {
	ID      int
	Do      string // acquire, release, err, load, stats, close
	Lease   int    // acquire and release: the number that the test gives the lease
	N       int
	Timeout time.Duration
	Callers int
	Hold    time.Duration
	Warm    time.Duration // load: time before counting begins
	For     time.Duration // load: time that is counted
}

// reply is the reply to a command. Begin and End are Unix times in nanoseconds. All processes have the same clock.
type reply struct {
	ID         int
	Err        string
	Begin, End int64
	Count      int64         // load: leases released while counting
	Held       time.Duration // load: time that they were held, in total
	Stats      Stats
	Lost       bool  // release: the lease had ended before
	Alive      int64 // release: when the process last saw that it had not
}

// processMain is the main function of a process.
func processMain() int {
	var cfg processConfig
	if err := json.Unmarshal([]byte(os.Getenv(processEnv)), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	rdb := redis.NewClient(&redis.Options{Network: cfg.Network, Addr: cfg.Addr, DB: cfg.DB})
	s, err := New(rdb, Config{
		Name: cfg.Name, Limit: cfg.Limit, SessionTTL: cfg.TTL, IdleTimeout: cfg.IdleTimeout, PollInterval: cfg.Poll,
		Outage: cfg.Outage,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w := &worker{s: s, out: json.NewEncoder(os.Stdout), leases: map[int]*watched{}}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		w.wg.Go(func() { w.do(c) })
	}
	w.wg.Wait()
	return 0
}

type worker struct {
	s      *Semaphore
	mu     sync.Mutex
	out    *json.Encoder
	leases map[int]*watched
	wg     sync.WaitGroup
}

// watched is a lease, and the time when it was last seen alive.
type watched struct {
	*Lease
	alive atomic.Int64
}

// watch checks the lease as a caller does that uses it.
func (l *watched) watch() {
	for {
		now := time.Now().UnixNano()
		if l.Context().Err() != nil {
			return
		}
		l.alive.Store(now)
		select {
		case <-l.Context().Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (w *worker) do(c command) {
	r := reply{ID: c.ID, Begin: time.Now().UnixNano()}
	var err error
	switch c.Do {
	case "acquire":
		err = w.acquire(c)
	case "release":
		l := w.lease(c.Lease)
		r.Alive, r.Lost = l.alive.Load(), l.Err() != nil
		l.Release()
	case "err":
		err = w.lease(c.Lease).Context().Err()
	case "load":
		r.Count, r.Held, err = w.load(c)
	case "close":
		err = w.s.Close(context.Background())
	}
	r.Stats = w.s.Stats()
	if err != nil {
		r.Err = err.Error()
	}
	r.End = time.Now().UnixNano()
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(r)
}

func (w *worker) lease(id int) *watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leases[id]
}

func (w *worker) acquire(c command) error {
	l, err := w.s.AcquireN(context.Background(), c.N, WithMaxWait(c.Timeout))
	if err != nil {
		return err
	}
	seen := &watched{Lease: l}
	w.wg.Go(seen.watch)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases[c.Lease] = seen
	return nil
}

// load acquires, holds and releases with many callers, and counts the leases that end within the time.
func (w *worker) load(c command) (count int64, held time.Duration, err error) {
	from := time.Now().Add(c.Warm)
	to := from.Add(c.For)
	ctx, cancel := context.WithDeadline(context.Background(), to.Add(c.Hold))
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range c.Callers {
		wg.Go(func() {
			for time.Now().Before(to) {
				l, e := w.s.Acquire(ctx)
				if e != nil {
					if ctx.Err() == nil {
						mu.Lock()
						err = e
						mu.Unlock()
					}
					return
				}
				begin := time.Now()
				if c.Hold > 0 {
					time.Sleep(c.Hold)
				}
				end := time.Now()
				l.Release()
				if end.After(from) && end.Before(to) {
					mu.Lock()
					count, held = count+1, held+end.Sub(begin)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return count, held, err
}

// process is the test's end of one process.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	mu   sync.Mutex
	last int
	wait map[int]chan reply
	gone chan struct{}
}

// startProcess starts a process that shares the semaphore cfg.Name on rdb. It is killed when the test ends.
func startProcess(t testing.TB, rdb *redis.Client, cfg processConfig) *process {
	t.Helper()
	o := rdb.Options()
	cfg.Network, cfg.Addr, cfg.DB = o.Network, o.Addr, o.DB
	if cfg.TTL == 0 {
		cfg.TTL = DefaultSessionTTL
	}
	if cfg.Poll == 0 {
		cfg.Poll = DefaultPollInterval
	}
	env, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0]), wait: map[int]chan reply{}, gone: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), processEnv+"="+string(env))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(out)
	t.Cleanup(p.kill)
	return p
}

func (p *process) read(out io.Reader) {
	defer close(p.gone)
	d := json.NewDecoder(out)
	for {
		var r reply
		if d.Decode(&r) != nil {
			return
		}
		p.mu.Lock()
		p.wait[r.ID] <- r
		delete(p.wait, r.ID)
		p.mu.Unlock()
	}
}

// start sends a command and returns the channel of its reply.
func (p *process) start(c command) <-chan reply {
	replied := make(chan reply, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	c.ID = p.last
	p.wait[c.ID] = replied
	b, err := json.Marshal(c)
	if err == nil {
		_, err = p.in.Write(append(b, '\n'))
	}
	if err != nil {
		p.t.Log("a command to a process that has ended:", err)
	}
	return replied
}

// try sends a command and waits for its reply. It is false if the process ended before.
func (p *process) try(c command) (reply, bool) {
	select {
	case r := <-p.start(c):
		return r, true
	case <-p.gone:
	case <-time.After(60 * time.Second):
		p.t.Errorf("%+v: got no reply, want one", c)
	}
	return reply{}, false
}

// do sends a command and waits for its reply.
func (p *process) do(c command) reply {
	p.t.Helper()
	r, alive := p.try(c)
	if !alive {
		p.t.Fatalf("%+v: got no reply, want one", c)
	}
	return r
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.gone
	_ = p.cmd.Wait()
}
