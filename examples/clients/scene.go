package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/examples/internal/machine"
	"github.com/penstock/penstock/internal/apisim"
)

// scene is a provider, and the gateway before it, for one program.
type scene struct {
	program
	dir, binary, redis string
}

var secrets = []string{"sk-clients-1", "sk-clients-2"}

// provider starts a provider with one account of two keys.
func (s *scene) provider() (*apisim.Server, error) {
	account := apisim.Account{
		ID:     "org",
		Limits: []apisim.Limit{{Metric: apisim.Requests, Limit: s.rate, Per: period}},
	}
	for i, secret := range secrets {
		account.Keys = append(account.Keys, apisim.Key{ID: fmt.Sprint("k", i+1), Secret: secret})
	}
	return apisim.Start(apisim.Config{
		Accounts: []apisim.Account{account}, Latency: apisim.Latency{Min: 50 * time.Millisecond, Max: 150 * time.Millisecond},
	})
}

// straight runs the program straight at the provider, with one of its keys.
func (s *scene) straight(ctx context.Context) (*result, error) {
	sim, err := s.provider()
	if err != nil {
		return nil, err
	}
	defer func() { _ = sim.Close() }()
	return s.play(ctx, sim, sim.URL(), secrets[0])
}

// through runs the program through two replicas of the gateway.
func (s *scene) through(ctx context.Context) (*result, error) {
	sim, err := s.provider()
	if err != nil {
		return nil, err
	}
	defer func() { _ = sim.Close() }()
	token := rand.Text()
	file := filepath.Join(s.dir, s.name+".yaml")
	text := fmt.Sprintf(`name: clients-%s-%s
base_url: %s
provider: openai
keys: [{id: k1, secret: %s, account: org}, {id: k2, secret: %s, account: org}]
limits: [{metric: requests, rate: %d, period: %v}]
tuning: {arrival_jitter: 70ms}
clients: [{name: user, token: "${GATEWAY_TOKEN}"}]
`, s.name, rand.Text(), sim.URL(), secrets[0], secrets[1], s.rate, period)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var replicas []string
	for range 2 {
		url, stop, err := s.replica(ctx, file, token)
		if err != nil {
			return nil, err
		}
		defer stop()
		replicas = append(replicas, strings.TrimPrefix(url, "http://"))
	}
	front, err := balance(replicas)
	if err != nil {
		return nil, err
	}
	defer front.close()
	return s.play(ctx, sim, front.url(), token)
}

// replica starts a gateway and returns its address.
func (s *scene) replica(ctx context.Context, file, token string) (url string, stop func(), _ error) {
	cmd := exec.CommandContext(ctx, s.binary, "-config", file, "-redis", s.redis, "-listen", "127.0.0.1:0", "-watch", "0", "-drain", "5s")
	cmd.Env = append(os.Environ(), "GATEWAY_TOKEN="+token)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("the gateway ended: %s", log.String())
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "gateway ")), stop, nil
}

// play runs the program, for at most a minute.
func (s *scene) play(ctx context.Context, sim *apisim.Server, url, key string) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Env = append(os.Environ(), "OPENAI_BASE_URL="+url+"/v1", "OPENAI_API_KEY="+key, fmt.Sprint("COUNT=", s.calls))
	cmd.Env = append(cmd.Env, s.env...)
	watch := machine.Begin()
	out, err := cmd.Output()
	stalls, busy := watch.End()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w\n%s", err, e.Stderr)
		}
		return nil, err
	}
	r := &result{program: s.program, ledger: sim.Ledger(), stalls: stalls, busy: busy}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return r, nil
}
