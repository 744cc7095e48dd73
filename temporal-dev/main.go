// Command temporal-dev is a real Temporal server in one process, for
// development and tests: SQLite storage, Web UI, workflow time skipping.
//
// It exists because the official CLI's newest release cannot be installed with
// `go install`, and the newest that can has no time skipping. It takes the
// arguments of `temporal server start-dev` that SDK test environments pass, so
// it stands in for that binary. Never run it in production: no TLS, no
// authorization, one process, one file.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	uiversion "github.com/temporalio/ui-server/v2/server/version"
	"go.temporal.io/server/common/headers"
)

// stopBound is how long a clean stop may take. SQLite survives a hard exit, so
// past the bound leaving is better than hanging whoever waits for us.
const stopBound = 4 * time.Second

const usage = `temporal-dev: a Temporal development server on SQLite with Web UI and time skipping.

Usage:
  temporal-dev server start-dev [flags]
  temporal-dev --version

Flags:
`

// options is the parsed command line.
type options struct {
	ip, uiIP          string
	port, uiPort      int
	metricsPort       int
	headless          bool
	dbFile            string
	namespaces        list
	searchAttributes  list
	dynamicConfig     list
	logLevel          string
	logFormat         string
	exitWithParentPID int
}

// list collects a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	opts, err := parse(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fail(2, fmt.Errorf("%w (see temporal-dev --help)", err))
	case opts == nil:
		fmt.Println(versionLine())
		return
	}
	if err := run(opts); err != nil {
		fail(1, err)
	}
}

func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "temporal-dev: error:", err)
	os.Exit(code)
}

// versionLine has the shape of `temporal --version`, so one parser reads both.
func versionLine() string {
	return fmt.Sprintf("temporal-dev version %[1]s (Server %[1]s, UI %[2]s)", headers.ServerVersion, uiversion.UIVersion)
}

// parse returns nil options when only the version was asked for, and
// flag.ErrHelp after having printed the help.
func parse(args []string, help io.Writer) (*options, error) {
	opts := &options{}
	flags := flag.NewFlagSet("temporal-dev", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&opts.ip, "ip", "127.0.0.1", "address the gRPC frontend listens on")
	flags.IntVar(&opts.port, "port", 7233, "port of the gRPC frontend")
	flags.StringVar(&opts.uiIP, "ui-ip", "", "address the Web UI listens on (default: as --ip)")
	flags.IntVar(&opts.uiPort, "ui-port", 0, "port of the Web UI (default: --port + 1000)")
	flags.IntVar(&opts.metricsPort, "metrics-port", 0, "port of the Prometheus metrics (default: none)")
	flags.BoolVar(&opts.headless, "headless", false, "no Web UI")
	flags.StringVar(&opts.dbFile, "db-filename", "", "SQLite file that keeps the state (default: in memory)")
	flags.Var(&opts.namespaces, "namespace", "`name` of a namespace to register besides default; repeatable")
	flags.Var(&opts.searchAttributes, "search-attribute", "`Name=Type` to register in each namespace; repeatable")
	flags.Var(&opts.dynamicConfig, "dynamic-config-value", "`key=JSON` value of the dynamic configuration; repeatable")
	flags.StringVar(&opts.logLevel, "log-level", "warn", "debug, info, warn, error or never")
	flags.StringVar(&opts.logFormat, "log-format", "pretty", "pretty, text or json")
	flags.IntVar(&opts.exitWithParentPID, "exit-with-parent", 0, "stop when the process with this `PID` is no longer the parent")
	version := flags.Bool("version", false, "print the version and exit")

	// Flags may stand before and after the two command words, as with the CLI.
	words := []string{}
	for rest := args; ; {
		if err := flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprint(help, usage)
				flags.SetOutput(help)
				flags.PrintDefaults()
			}
			return nil, err
		}
		if flags.NArg() == 0 {
			break
		}
		words, rest = append(words, flags.Arg(0)), flags.Args()[1:]
	}
	if *version {
		return nil, nil
	}
	if command := strings.Join(words, " "); command != "server start-dev" {
		return nil, fmt.Errorf("unknown command %q, the only one is \"server start-dev\"", command)
	}
	return opts, opts.complete()
}

// complete checks what the flag package cannot and fills in derived defaults.
func (o *options) complete() error {
	if o.uiPort == 0 {
		o.uiPort = o.port + 1000
	}
	if o.uiIP == "" {
		o.uiIP = o.ip
	}
	for name, port := range map[string]int{"--port": o.port, "--ui-port": o.uiPort} {
		if port < 1 || port > 65535 {
			return fmt.Errorf("%s %d is not a port (1-65535)", name, port)
		}
	}
	switch o.logFormat {
	case "pretty", "text", "json":
	default:
		return fmt.Errorf("--log-format %q is not pretty, text or json", o.logFormat)
	}
	switch o.logLevel {
	case "debug", "info", "warn", "error", "never":
	default:
		return fmt.Errorf("--log-level %q is not debug, info, warn, error or never", o.logLevel)
	}
	if len(o.namespaces) == 0 || o.namespaces[0] != "default" {
		o.namespaces = append(list{"default"}, o.namespaces...)
	}
	return nil
}

// run serves until a signal comes or the parent is gone.
func run(opts *options) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	orphaned := watchParent(opts.exitWithParentPID)

	srv, err := start(opts)
	if err != nil {
		return err
	}
	fmt.Printf("Temporal server: %s\n", srv.address)
	if srv.uiURL != "" {
		fmt.Printf("Web UI:          %s\n", srv.uiURL)
	}

	select {
	case <-stop:
	case <-orphaned:
	}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.stop() }()
	select {
	case err := <-stopped:
		return err
	case <-time.After(stopBound):
		return nil
	}
}

// watchParent closes the channel once pid is not our parent any more. Asking
// again and again also works when the parent is killed with SIGKILL, and unlike
// PR_SET_PDEATHSIG it does not mistake the end of the thread that spawned us for
// the end of the process.
func watchParent(pid int) <-chan struct{} {
	orphaned := make(chan struct{})
	if pid != 0 {
		go func() {
			for os.Getppid() == pid {
				time.Sleep(250 * time.Millisecond)
			}
			close(orphaned)
		}()
	}
	return orphaned
}
