package scripts

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

//go:embed client_usage.lua
var clientUsageLua string

var clientUsageScript = newScript("client_usage", coreLua, clientUsageLua)

// ClientUnits are units of a client's caps: requests, tokens, and micro-dollars.
type ClientUnits [3]int64

// ClientCaps are a client's caps: those of a minute, then those of a day, each as ClientUnits. -1: there is none.
type ClientCaps [6]int64

// ClientCharge is a call that is charged against the caps of its client.
type ClientCharge struct {
	Client string
	Caps   ClientCaps
	Units  ClientUnits
	// Reserve is charged in addition while all caps would then be used by three quarters at most. Zero: nothing is.
	Reserve ClientUnits
}

// ClientCorrection changes an earlier charge. It has no effect on a window that has ended.
type ClientCorrection struct {
	Client      string
	Minute, Day int64       // in which the charge was made
	Units       ClientUnits // negative: refunds
}

// ClientCalls is usage of a model by a client.
type ClientCalls struct {
	Client, Model                         string
	Requests, Input, Output, Microdollars int64
}

// ClientReport is one call of the script. Corrections and Calls take effect once for each Seq of a process, however often
// they are sent. Charges take effect each time.
type ClientReport struct {
	Process     string
	Seq         int64 // from 1, higher with each report
	KeepDays    int   // days of usage to keep, at least 1
	Corrections []ClientCorrection
	Calls       []ClientCalls
	Charges     []ClientCharge
}

// ClientReply is the script's reply.
type ClientReply struct {
	Minute, Day         int64         // since 1970, by Redis' clock
	MinuteLeft, DayLeft time.Duration // until the windows end
	Charges             []ClientCharged
}

// ClientCharged says what became of a charge: 0 charged, 1 charged with its reserve, from 2 on refused.
type ClientCharged int64

// Charged reports whether the charge was made.
func (c ClientCharged) Charged() bool { return c < 2 }

// Reserved reports whether the reserve was charged, too.
func (c ClientCharged) Reserved() bool { return c == 1 }

// Cap returns the index in ClientCaps of the cap that refused the charge.
func (c ClientCharged) Cap() int { return int(c) - 2 }

// ClientUsageKey is the hash of a gateway's clients.
func ClientUsageKey(gateway string) string { return "penstock:gateway:{" + wireName(gateway) + "}" }

// ClientUsage sends a report for the gateway of that name.
func ClientUsage(ctx context.Context, client Client, gateway string, r *ClientReport) (*ClientReply, error) {
	key := ClientUsageKey(gateway)
	args := make([]any, 0, 11+6*len(r.Corrections)+6*len(r.Calls)+13*len(r.Charges))
	args = append(args, "", "", 1, key, "", wireName(r.Process), r.Seq, r.KeepDays, len(r.Corrections))
	for i := range r.Corrections {
		c := &r.Corrections[i]
		args = append(args, wireName(c.Client), c.Minute, c.Day, c.Units[0], c.Units[1], c.Units[2])
	}
	args = append(args, len(r.Calls))
	for i := range r.Calls {
		c := &r.Calls[i]
		args = append(args, wireName(c.Client), wireName(c.Model), c.Requests, c.Input, c.Output, c.Microdollars)
	}
	args = append(args, len(r.Charges))
	for i := range r.Charges {
		c := &r.Charges[i]
		args = append(args, wireName(c.Client))
		for _, n := range c.Caps {
			args = append(args, n)
		}
		args = append(args, c.Units[0], c.Units[1], c.Units[2], c.Reserve[0], c.Reserve[1], c.Reserve[2])
	}
	v, err := clientUsageScript.ints(ctx, client, args)
	if err != nil {
		return nil, newError(clientUsageScript.name, []string{key}, err)
	}
	if len(v) != 4+len(r.Charges) {
		return nil, newError(clientUsageScript.name, []string{key}, fmt.Errorf("the reply has %d numbers, want %d", len(v), 4+len(r.Charges)))
	}
	out := &ClientReply{
		Minute: v[0], Day: v[1], MinuteLeft: time.Duration(v[2]) * time.Millisecond, DayLeft: time.Duration(v[3]) * time.Millisecond,
	}
	for _, n := range v[4:] {
		out.Charges = append(out.Charges, ClientCharged(n))
	}
	return out, nil
}

// ClientDay is what a client used of a model on a day.
type ClientDay struct {
	ClientCalls
	Day time.Time // its beginning, in UTC
}

// ParseClientDay reads a field of the hash and its value. It reports false for fields that aren't usage.
func ParseClientDay(field, value string) (ClientDay, bool) {
	parts := strings.Split(field, ":")
	if len(parts) != 4 || parts[0] != "u" {
		return ClientDay{}, false
	}
	day, err := strconv.ParseInt(parts[1], 10, 32)
	d := ClientDay{Day: time.Unix(day*86400, 0).UTC(), ClientCalls: ClientCalls{Client: plainName(parts[2]), Model: plainName(parts[3])}}
	if n, scanErr := fmt.Sscan(value, &d.Requests, &d.Input, &d.Output, &d.Microdollars); err != nil || scanErr != nil || n != 4 {
		return ClientDay{}, false
	}
	return d, true
}

// plainName returns the name that wireName has written.
func plainName(wire string) string {
	name, err := url.PathUnescape(wire)
	if err != nil {
		return wire
	}
	return name
}
