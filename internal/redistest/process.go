package redistest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// process is a redis-server, running or ended.
type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when the process has ended and was reaped
	once   sync.Once
}

// run starts redis-server in dir, where it also writes its log.
func run(dir string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	// A file rather than a pipe: no goroutine has to copy it.
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	defer out.Close()
	p.cmd = exec.Command(binary(), args...)
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("redistest: start %s: %w", binary(), err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// ready waits until ping succeeds, the process has ended, or the bound has passed.
func (p *process) ready(ping func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	pause := time.Millisecond
	for {
		err := ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("redistest: %s ended at once; its log:\n%s", binary(), p.logged())
		case <-ctx.Done():
			return fmt.Errorf("redistest: %s did not answer within %v: %w; its log:\n%s", binary(), bound, err, p.logged())
		case <-time.After(pause):
			pause = min(2*pause, 20*time.Millisecond)
		}
	}
}

// kill ends the process with SIGKILL, which a stopped one obeys too, and waits for its end. It may be repeated.
func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *process) logged() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
