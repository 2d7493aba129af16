package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/apisim"
	"github.com/penstock/penstock/internal/redistest"
)

// roleVariable tells this program that it is a child process, and which: roleProvider or roleWorker.
const roleVariable = "PENSTOCK_CHAOS_ROLE"

// Values of roleVariable.
const (
	roleProvider = "provider"
	roleWorker   = "worker"
)

// play is the main function of a child process.
func play(role string, in io.Reader, out io.Writer) error {
	if role == roleProvider {
		return serveProvider(in, out)
	}
	return serveWorker(in, out)
}

// child starts this program as a child process with a role, and hands it a value as a line of JSON.
func child(t testing.TB, role string, value any) *redistest.Child {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	c := redistest.Command(t, cmd)
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	c.Send(string(text))
	return c
}

// serveProvider is the provider's main function: it writes its URL and serves until its input ends.
func serveProvider(in io.Reader, out io.Writer) error {
	d := json.NewDecoder(in)
	l := new(load)
	if err := d.Decode(l); err != nil {
		return fmt.Errorf("a provider without a load: %w", err)
	}
	sim, err := apisim.Start(l.provider())
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "url", sim.URL())
	_, _ = io.Copy(io.Discard, in)
	return sim.Close()
}

// provider is the simulated provider's process, as the driver sees it.
type provider struct {
	t   testing.TB
	url string
}

func startProvider(t testing.TB, l *load) *provider {
	return &provider{t, child(t, roleProvider, l).Expect("url")}
}

// tell orders the provider something over its control interface.
func (p *provider) tell(path string, order map[string]any) {
	p.t.Helper()
	if _, err := p.try(path, order); err != nil {
		p.t.Fatal(err)
	}
}

// try orders the provider something, and returns the units that it says it has charged.
func (p *provider) try(path string, order map[string]any) (units float64, err error) {
	body, err := json.Marshal(order)
	if err != nil {
		return 0, err
	}
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Post(p.url+"/sim/"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the provider refused %s: %s", path, text)
	}
	var charged struct {
		Units float64 `json:"units"`
	}
	return charged.Units, json.Unmarshal(text, &charged)
}
