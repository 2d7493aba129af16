package caller_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/penstock/penstock/caller"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
)

// processEnv makes the test binary a process of a pool: network, address and database of Redis.
const processEnv = "PENSTOCK_TEST_POOL_PROCESS"

// processMain makes a call of one request for each line that it reads, and then one of 50 if that fits the limits. It
// writes the version that it follows, and whether the second call fits.
func processMain(redisAt string) int {
	at := strings.Fields(redisAt)
	rdb := redis.NewClient(&redis.Options{Network: at[0], Addr: at[1], DB: int(at[2][0] - '0')})
	if len(at[2]) > 1 {
		return 2
	}
	c, err := caller.New(rdb, caller.Config{Name: "p", Keys: []caller.Key{key("k")}, Limits: []caller.Limit{perHour(40)}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		_, err := caller.Do(context.Background(), c, nil, nop)
		ended, cancel := context.WithCancel(context.Background())
		cancel() // so that nothing is charged
		_, large := caller.Do(ended, c, caller.Cost{caller.Requests: 50}, nop)
		fmt.Println(c.Stats().LimitsVersion, !errors.Is(large, caller.ErrNeverFits), err)
	}
	return 0
}

type process struct {
	*testing.T
	in  io.Writer
	out *bufio.Reader
}

func startProcess(t *testing.T, rdb *redis.Client) *process {
	t.Helper()
	o := rdb.Options()
	cmd := exec.CommandContext(testkit.Context(t), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", processEnv, o.Network, o.Addr, o.DB))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &process{t, in, bufio.NewReader(out)}
}

// call returns what the process says after its calls.
func (p *process) call() string {
	p.Helper()
	if _, err := fmt.Fprintln(p.in); err != nil {
		p.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// Three processes that are configured with 40 requests follow limits that are set from outside, each with its next call,
// and so does one that is started later.
func TestSetLimits_EveryProcessFollowsWithinItsNextCall(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	var all []*process
	for range 3 {
		all = append(all, startProcess(t, rdb))
	}
	says := func(p *process, want string) {
		t.Helper()
		if got := p.call(); got != want {
			t.Errorf("got %q after a call, want %q", got, want)
		}
	}
	for _, p := range all {
		says(p, "0 false <nil>")
	}
	operator := join(t, rdb, limits(perHour(40)))
	for version, rate := range []int64{1: 100, 2: 45, 3: 200} {
		if version == 0 {
			continue
		}
		if err := operator.SetLimits(testkit.Context(t), int64(version), caller.LimitSet{Limits: []caller.Limit{perHour(rate)}}); err != nil {
			t.Fatal(err)
		}
		for _, p := range append(all, startProcess(t, rdb)) {
			says(p, fmt.Sprint(version, " ", rate >= 50, " <nil>"))
		}
	}
}
