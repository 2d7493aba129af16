package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Option changes how Start runs a server.
type Option func(*settings)

type settings struct {
	tcp      bool
	args     []string
	sentinel string // run as a sentinel, with this configuration
}

// WithTCP makes the server listen on a free port of 127.0.0.1 too, for processes and proxies that want an address.
func WithTCP() Option { return func(s *settings) { s.tcp = true } }

// WithArgs adds arguments to redis-server's command line, such as "--maxmemory", "1mb".
func WithArgs(args ...string) Option { return func(s *settings) { s.args = append(s.args, args...) } }

// Server is a redis-server that a test has for itself. Its methods are for one goroutine at a time; clients of it may
// be used from any.
type Server struct {
	t       testing.TB // nil for the package's own server
	dir     string
	socket  string
	port    int // 0 without TCP
	args    []string
	process *process // nil before the first start

	watchdog *watchdog
}

// Start runs a redis-server without persistence, and stops it when the test ends. Without redis-server the test is
// skipped, or fails if CI is set.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	needServer(t)
	var set settings
	for _, o := range opts {
		o(&set)
	}
	s, err := newServer(set)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(s.close)
	return s
}

func newServer(set settings) (*Server, error) {
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	s := &Server{dir: dir, socket: filepath.Join(dir, "s")}
	if s.watchdog, err = watch(dir); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	const attempts = 5 // another process may take the free port before the server does
	for range attempts {
		if err = s.configure(set); err == nil {
			err = s.start()
		}
		if err == nil {
			return s, nil
		}
		if !set.tcp {
			break
		}
	}
	s.close()
	return nil, err
}

// configure chooses a port and makes the command line.
func (s *Server) configure(set settings) error {
	if set.tcp {
		var err error
		if s.port, err = freePort(); err != nil {
			return err
		}
	}
	s.args = []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir}
	if set.sentinel != "" {
		file := filepath.Join(s.dir, "sentinel.conf") // a sentinel keeps its state there
		s.args = slices.Concat([]string{file, "--sentinel"}, s.args, set.args)
		return os.WriteFile(file, []byte(set.sentinel), 0o600)
	}
	s.args = slices.Concat(s.args, []string{"--unixsocket", s.socket, "--save", "", "--appendonly", "no"}, set.args)
	return nil
}

// start runs the process and waits until it answers.
func (s *Server) start() error {
	p, err := run(s.dir, s.args...)
	if err != nil {
		return err
	}
	s.process = p
	err = s.watchdog.guard(s.PID())
	if err == nil {
		err = p.ready(s.ping)
	}
	if err != nil {
		p.kill()
	}
	return err
}

// ping asks over a bare connection: go-redis would log every dial that comes too early.
func (s *Server) ping(ctx context.Context) error {
	opts := s.Options()
	var d net.Dialer
	conn, err := d.DialContext(ctx, opts.Network, opts.Addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && strings.HasPrefix(reply, "-LOADING") {
		return errors.New(strings.TrimSpace(reply))
	}
	return err // any other reply will do: NOAUTH is one
}

// Socket returns the path of the server's unix socket. It stays the same over a Restart.
func (s *Server) Socket() string { return s.socket }

// Addr returns the server's TCP address, 127.0.0.1:port, or "" without WithTCP. It stays the same over a Restart.
func (s *Server) Addr() string {
	if s.port == 0 {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// PID returns the process id of the running server.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Options returns fresh go-redis options that reach the server: over TCP with WithTCP, else over the unix socket. All
// else is go-redis's default.
func (s *Server) Options() *redis.Options {
	if s.port != 0 {
		return &redis.Options{Network: "tcp", Addr: s.Addr()}
	}
	return &redis.Options{Network: "unix", Addr: s.socket}
}

// Client returns a client with the options of Options, closed when t ends.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	return open(t, s.Options())
}

// Kill ends the server as a crash does (SIGKILL): connections are reset and, without persistence, all data is lost.
func (s *Server) Kill() { s.process.kill() }

// Restart kills the server if it runs and starts it anew at the same addresses, empty unless its arguments say
// otherwise. It returns when the server answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// LoseReplicas keeps replicas from following the server from now on: they lag behind more and more.
func (s *Server) LoseReplicas() {
	s.t.Helper()
	rdb := s.Client(s.t)
	for _, args := range [][]any{{"ACL", "SETUSER", "default", "-psync", "-sync"}, {"CLIENT", "KILL", "TYPE", "replica"}} {
		if err := rdb.Do(s.t.Context(), args...).Err(); err != nil {
			s.t.Fatalf("redis-server: %v", err)
		}
	}
}

// Pause stops the server with SIGSTOP: connections stay open, and commands wait in the sockets without a reply.
func (s *Server) Pause() {
	s.t.Helper()
	if err := pause(s.process.cmd.Process); err != nil {
		s.t.Fatalf("pause redis-server: %v", err)
	}
}

// Resume lets a paused server continue. It then executes the commands that wait.
func (s *Server) Resume() {
	s.t.Helper()
	if err := resume(s.process.cmd.Process); err != nil {
		s.t.Fatalf("resume redis-server: %v", err)
	}
}

func (s *Server) close() {
	if s.process != nil {
		s.process.kill()
	}
	s.watchdog.dismiss()
	_ = os.RemoveAll(s.dir)
}

// freePort returns a TCP port of 127.0.0.1 that was free a moment ago, with room for a cluster's bus port above it.
func freePort() (int, error) {
	const highest = 65535 - 10000
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, fmt.Errorf("redistest: no free port: %w", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port <= highest {
			return port, nil
		}
	}
}
