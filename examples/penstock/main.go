// Command penstock shows and operates a pool from a shell, without its API keys.
//
//	penstock inspect  -redis redis://… -pool NAME [-json]   all that is known
//	penstock why      …                                     what the waiting calls wait for, and until when
//	penstock keys     …                                     the keys, and why some aren't used
//	penstock limits   …                                     how far each limit was used in the last minute
//	penstock watch    …                                     the same every second, until Ctrl-C
//	penstock disable  … [-reason TEXT] KEY                  takes a key out of use in all processes
//	penstock enable   … KEY                                 puts it back
//	penstock pause    … [-reason TEXT] [ACCOUNT]            takes an account, or all of them, out of use
//	penstock resume   … [ACCOUNT]                           puts it, or all of them, back
//	penstock clients  -redis redis://… [-gateway NAME]      what each client of a gateway used, by day and model
//	penstock doctor   -redis redis://… [-pool NAME]         checks Redis and the processes' configuration
//	                  [-check-keys -config FILE]            and each key, by one cheap request
//
// In place of -redis and -pool, -url takes the address of a status page (see package status), and -token its token.
//
// What only shows needs the Redis commands TIME and HGETALL on penstock:pool:*; doctor says what it can't check.
//
// The exit code is 0; 1 if something failed; 2 for a wrong command line; 3 if the pool, key or account isn't there.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/penstock/penstock/caller"
	"github.com/redis/go-redis/v9"
)

// Exit codes.
const (
	failed   = 1
	misused  = 2
	notFound = 3
)

func main() {
	redis.SetLogger(quiet{}) // a failure is in the command's own message
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// flags are a command's options.
type flags struct {
	redis, pool, url, token, reason string
	config                          string
	json, checkKeys                 bool
	gateway                         string
	names                           []string // of keys or accounts
}

// usageError is a wrong command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// missingError: the pool has no such key or account.
type missingError struct{ msg string }

func (e *missingError) Error() string { return e.msg }

// run carries out a command and returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	err := command(ctx, args, out, errs)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	fmt.Fprintln(errs, "penstock:", err)
	if _, ok := errors.AsType[*usageError](err); ok {
		return misused
	}
	if _, ok := errors.AsType[*missingError](err); ok || errors.Is(err, caller.ErrNoPool) {
		return notFound
	}
	return failed
}

// commands are all commands, in the order of the usage text.
var commands = []struct {
	name, does string
	run        func(context.Context, *client, *flags, io.Writer) error
	names      string // what the arguments are; empty: there are none
	optional   bool   // the argument may be left out
}{
	{"inspect", "shows all that is known", inspect, "", false},
	{"why", "says what the waiting calls wait for, and until when", why, "", false},
	{"keys", "shows the keys, and why some aren't used", showKeys, "", false},
	{"limits", "shows how far each limit was used in the last minute", showLimits, "", false},
	{"watch", "shows the pool every second, until Ctrl-C", watch, "", false},
	{"disable", "takes a key out of use in all processes", disable, "KEY", false},
	{"enable", "puts a key back into use", enable, "KEY", false},
	{"pause", "takes an account, or all of them, out of use", pause, "ACCOUNT", true},
	{"resume", "puts an account, or all of them, back into use", resume, "ACCOUNT", true},
}

func command(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(errs)
		if len(args) == 0 {
			return &usageError{"give a command"}
		}
		return nil
	}
	if args[0] == "doctor" {
		f, err := parse(args[0], "", false, args[1:], errs)
		if err != nil {
			return err
		}
		return doctor(ctx, f, out)
	}
	if args[0] == "clients" {
		f, err := parse(args[0], "", false, args[1:], errs)
		if err != nil {
			return err
		}
		return showClients(ctx, f, out)
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		f, err := parse(c.name, c.names, c.optional, args[1:], errs)
		if err != nil {
			return err
		}
		client, err := connect(ctx, f)
		if err != nil {
			return err
		}
		return errors.Join(c.run(ctx, client, f, out), client.close())
	}
	usage(errs)
	return &usageError{fmt.Sprintf("there is no command %q", args[0])}
}

// parse reads a command's options.
func parse(name, names string, optional bool, args []string, errs io.Writer) (*flags, error) {
	f := &flags{}
	set := flag.NewFlagSet("penstock "+name, flag.ContinueOnError)
	set.SetOutput(errs)
	set.StringVar(&f.redis, "redis", os.Getenv("REDIS_URL"), "`URL` of the pool's Redis (default: $REDIS_URL)")
	set.StringVar(&f.pool, "pool", "", "`name` of the pool")
	set.StringVar(&f.url, "url", "", "`URL` of a status page, in place of -redis and -pool")
	set.StringVar(&f.token, "token", os.Getenv("PENSTOCK_TOKEN"), "the status page's token for changes (default: $PENSTOCK_TOKEN)")
	set.StringVar(&f.reason, "reason", "an operator's command", "why, for `people`")
	set.StringVar(&f.gateway, "gateway", "gateway", "`name` of the gateway, for clients")
	set.BoolVar(&f.json, "json", false, "print JSON")
	if name == "doctor" {
		set.BoolVar(&f.checkKeys, "check-keys", false, "send one cheap request with each key of -config")
		set.StringVar(&f.config, "config", "", "the pool's YAML `file`, for -check-keys")
	}
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, &usageError{err.Error()}
	}
	f.names = set.Args()
	switch {
	case names == "" && len(f.names) > 0:
		return nil, &usageError{fmt.Sprintf("%s takes no arguments, and got %q: give options before arguments", name, f.names)}
	case names != "" && len(f.names) == 0 && !optional:
		return nil, &usageError{fmt.Sprintf("%s needs a %s", name, names)}
	case len(f.names) > 1:
		return nil, &usageError{fmt.Sprintf("%s takes one %s, and got %q: give options before it", name, names, f.names)}
	}
	return f, nil
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: penstock COMMAND -redis URL -pool NAME [-json] [ARGUMENT]")
	for _, c := range commands {
		arg := c.names
		if c.optional {
			arg = "[" + arg + "]"
		}
		fmt.Fprintf(w, "  %-8s %-10s %s\n", c.name, arg, c.does)
	}
	fmt.Fprintf(w, "  %-8s %-10s %s\n", "clients", "", "shows what each client of a gateway used, by day and model")
	fmt.Fprintf(w, "  %-8s %-10s %s\n", "doctor", "", "checks Redis and the processes' configuration")
	fmt.Fprintln(w, "penstock COMMAND -h shows the options.")
}

// printJSON writes a value as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printLine writes a value as one line of JSON.
func printLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// quiet is a logger of go-redis that writes nothing.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
