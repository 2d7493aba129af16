package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/penstock/penstock/caller"
)

// drainTime is the time that calls in flight have at the end of a run. Calls of the recipe sleep for long.
const drainTime = 60 * time.Second

// replica is a child process: a replica of a service. It reads its task, "go" and "stop" from standard input, a line each,
// and writes "ready" and at the end its result to standard output. It ends when its input ends.
type replica struct {
	task   *task
	sender sender
	line   *line
	redis  atomic.Int64 // commands sent

	stop  chan struct{}
	over  atomic.Bool
	next  atomic.Int64
	calls sync.WaitGroup

	mu     sync.Mutex
	result result
}

// serve is the child's main function.
func serve(in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // the parent gets it, too, and ends the input
	logging.Disable()
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a child process without a task: %w", err)
	}
	t := new(task)
	if err := json.Unmarshal(text, t); err != nil {
		return err
	}
	r := &replica{task: t, stop: make(chan struct{}), result: result{Waits: map[string][]float64{}}}
	rdb, err := r.connect()
	if err != nil {
		return err
	}
	defer rdb.Close()
	if err := r.prepare(rdb); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	if err := r.obey(lines); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(&r.result)
}

// connect returns a Redis client that counts its commands.
func (r *replica) connect() (*redis.Client, error) {
	options, err := redis.ParseURL(r.task.Redis)
	if err != nil {
		return nil, errors.New("the URL of the Redis is broken")
	}
	options.ContextTimeoutEnabled = true
	rdb := redis.NewClient(options)
	rdb.AddHook(counter{&r.redis})
	return rdb, nil
}

func (r *replica) prepare(rdb *redis.Client) (err error) {
	r.line = &line{base: caller.NewHTTPTransport(0), timeout: r.task.Scenario.AttemptTimeout}
	if r.task.RedisRate {
		r.sender = newRecipe(rdb, r.line, r.task)
		return nil
	}
	r.sender, err = newPooled(rdb, r.line, r.task)
	return err
}

// obey runs from "go" to "stop" and until all calls have ended. If the input ends, it ends the calls.
func (r *replica) obey(lines *bufio.Reader) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if word, err := lines.ReadString('\n'); err != nil || word != "go\n" {
		return r.sender.close(ctx)
	}
	r.start(ctx)
	_, err := lines.ReadString('\n')
	r.finish()
	if err != nil { // the parent has ended, or was interrupted
		cancel()
	}
	go func() {
		_, _ = lines.ReadString('\n')
		cancel()
	}()
	time.AfterFunc(drainTime, cancel)
	r.calls.Wait()
	r.result.Missed, r.result.RedisCalls = r.sender.missed(), r.redis.Load()
	r.result.Attempts, r.result.Throttled = r.line.attempts.Load(), r.line.throttled.Load()
	leave, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	return r.sender.close(leave)
}

// start starts the callers of PriorityLow, which make one call after the other, and urgent calls at random times.
func (r *replica) start(ctx context.Context) {
	for range r.task.Callers {
		r.calls.Go(func() {
			for !r.over.Load() {
				r.make(ctx, caller.PriorityLow)
			}
		})
	}
	for _, p := range []caller.Priority{caller.PriorityNormal, caller.PriorityHigh} {
		r.calls.Go(func() {
			rate := r.task.Scenario.Urgent / float64(r.task.Processes)
			timer := time.NewTimer(0)
			defer timer.Stop()
			for {
				timer.Reset(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
				select {
				case <-timer.C:
					r.calls.Go(func() { r.make(ctx, p) })
				case <-r.stop:
					return
				}
			}
		})
	}
}

// finish stops new calls.
func (r *replica) finish() {
	r.over.Store(true)
	close(r.stop)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.InTime = r.result.Succeeded
}

// make makes one call.
func (r *replica) make(ctx context.Context, p caller.Priority) {
	c := &call{
		id: fmt.Sprintf("p%d-%d", r.task.Process, r.next.Add(1)), priority: p,
		tokens: leastTokens + rand.IntN(mostTokens-leastTokens+1),
	}
	begun := time.Now()
	err := r.sender.send(ctx, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Calls++
	switch {
	case err != nil:
		r.result.Failed++
		if r.result.Error == "" {
			r.result.Error = err.Error()
		}
	default:
		r.result.Succeeded++
	}
	if !c.sent.IsZero() {
		name := priorityName(p)
		r.result.Waits[name] = append(r.result.Waits[name], c.sent.Sub(begun).Seconds()*1e3)
	}
}

func priorityName(p caller.Priority) string {
	return [...]string{"bulk", "normal", "interactive"}[p-caller.PriorityLow]
}

// counter is a hook that counts commands.
type counter struct{ n *atomic.Int64 }

func (c counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}
