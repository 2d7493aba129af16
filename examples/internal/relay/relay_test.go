package relay_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/penstock/penstock/examples/internal/relay"
)

// bound is far above what any step takes.
const bound = 10 * time.Second

// start returns a relay to a server that answers each line with the same line.
func start(t *testing.T) *relay.Relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	r, err := relay.Start(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// client is a connection through the relay.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, r *relay.Relay) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

// echo sends a line and returns what comes back within the time.
func (c *client) echo(within time.Duration) (string, error) {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, "0123456789\n"); err != nil {
		return "", err
	}
	return c.in.ReadString('\n')
}

// Without a fault every byte arrives; with Slow it arrives later.
func TestRelay_CarriesAndDelays(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := dial(t, r)
	if got, err := c.echo(bound); err != nil || got != "0123456789\n" {
		t.Fatalf("got %q, %v; want the line", got, err)
	}
	const delay = 100 * time.Millisecond
	r.Slow(delay)
	begin := time.Now()
	if got, err := c.echo(bound); err != nil || got != "0123456789\n" || time.Since(begin) < delay {
		t.Errorf("got %q, %v after %v; want the line after at least %v", got, err, time.Since(begin), delay)
	}
}

// A mute relay accepts connections and answers nothing; after Heal new connections work.
func TestRelay_MuteSwallowsUntilHealed(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.Mute()
	c := dial(t, r)
	if got, err := c.echo(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want nothing until the deadline", got, err)
	}
	r.Heal()
	if got, err := c.echo(bound); err == nil {
		t.Errorf("got %q on the connection that lost bytes, want an error", got)
	}
	if got, err := dial(t, r).echo(bound); err != nil {
		t.Errorf("got %q, %v on a new connection; want the line", got, err)
	}
}

// Halve lets through half of so many replies and resets their connections.
func TestRelay_HalveCutsSoManyReplies(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.Halve(1)
	if got, err := dial(t, r).echo(bound); err == nil || len(got) > 5 {
		t.Errorf("got %q, %v; want half of the line and an error", got, err)
	}
	if got, err := dial(t, r).echo(bound); err != nil {
		t.Errorf("got %q, %v for the next reply; want the line", got, err)
	}
}

// Cut ends the connections that are open, and no later ones.
func TestRelay_CutResetsOpenConnections(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := dial(t, r)
	if _, err := c.echo(bound); err != nil {
		t.Fatal(err)
	}
	r.Cut()
	if got, err := c.echo(bound); err == nil {
		t.Errorf("got %q after Cut, want an error", got)
	}
	if _, err := dial(t, r).echo(bound); err != nil {
		t.Errorf("got %v on a new connection, want none", err)
	}
}
