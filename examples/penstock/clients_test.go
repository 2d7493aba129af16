package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstock/penstock/caller/gateway"
	"github.com/penstock/penstock/internal/redistest"
	"github.com/penstock/penstock/internal/testkit"
	"github.com/penstock/penstock/scripts"
)

// clients shows the usage that gateways have counted.
func TestClients_ShowTheirUsage(t *testing.T) {
	server := redistest.Start(t, redistest.WithTCP())
	url := "redis://" + server.Addr()
	if code, out, errs := execute(t, "clients", "-redis", url); code != 0 || !strings.Contains(out, "no client") {
		t.Errorf("got code %d, %s%s without usage, want 0", code, out, errs)
	}
	if _, err := scripts.ClientUsage(testkit.Context(t), server.Client(t), "gateway", &scripts.ClientReport{
		Process: "p", Seq: 1, KeepDays: 7,
		Calls: []scripts.ClientCalls{{Client: "team a", Model: "gpt-4o", Requests: 3, Input: 30, Output: 60, Microdollars: 675}},
	}); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := execute(t, "clients", "-redis", url); code != 0 || !strings.Contains(out, "team a") || !strings.Contains(out, "0.000675") {
		t.Errorf("got code %d, %s%s, want the client and its dollars", code, out, errs)
	}
	code, out, errs := execute(t, "clients", "-redis", url, "-json")
	var all []gateway.ClientUsage
	if err := json.Unmarshal([]byte(out), &all); code != 0 || err != nil || len(all) != 1 || all[0].InputTokens != 30 {
		t.Errorf("got code %d, %s%s, %v, want the usage as JSON", code, out, errs, err)
	}
	if code, _, errs := execute(t, "clients"); code != misused || !strings.Contains(errs, "-redis") {
		t.Errorf("got code %d and %s without -redis, want %d", code, errs, misused)
	}
}
