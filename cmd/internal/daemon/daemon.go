package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/coflux-mesh/coflux/consensus"
	"github.com/coflux-mesh/coflux/node"
)

// hardStop is how long a node may take to stop after a second signal.
const hardStop = 2 * time.Second

// Exit statuses of a node.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitDamaged = 30
)

const helpHead = `coflux-node - one node of a mesh that runs Python tasks and workflows

Started alone it is a complete engine; more machines join it with --join. Every node answers clients.

  coflux-node --repo example1.repo
  coflux-node --repo example1.repo --join 10.0.0.1:7946 --insecure
  coflux-node --repo example1.repo --join 127.0.0.1:7946 --name second --data-dir second-data \
      --gossip-port 8946 --peer-port 8947 --http-port 8777
`

const helpTail = `
Every flag can also be set by a variable (--data-dir is COFLUX_NODE_DATA_DIR; lists with commas) or in the
file named by --config. A flag wins over a variable, a variable over the file.

SIGTERM or Ctrl-C: no new work is taken, what runs is waited for (--drain-timeout), leadership is handed
over, then the node stops. A second signal ends it at once, with its Python processes.

Exit status:
   0  stopped on request
   1  failed: the last line on stderr says why
   2  wrong flags, variables or configuration file
  30  the data directory is damaged and the node could not come back by itself: the message names the
      file and what to do
`

// Main runs a node until it is told to stop and returns the exit status. program is how the user started
// it, for messages; args are the flags.
func Main(program string, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	s := newSettings()
	err := s.parse(args, env)
	switch {
	case err != nil:
	case s.help:
		s.printHelp(stdout)
		return 0
	case s.version:
		fmt.Fprintf(stdout, "coflux-node version %s\n", Version())
		return 0
	default:
		err = s.check(program, args)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	s.cfg.Version = Version()
	tuneGC(env)
	logger := hclog.New(&hclog.LoggerOptions{
		Name: "coflux", Level: hclog.LevelFromString(s.cfg.LogLevel), Output: stderr, JSONFormat: s.cfg.LogJSON,
	})
	if err := serve(s.cfg, logger); err != nil {
		fmt.Fprintln(stderr, err)
		var damage *consensus.DamageError
		if errors.As(err, &damage) {
			return exitDamaged
		}
		return exitFailed
	}
	return 0
}

// check refuses what cannot work, in one sentence.
func (s *settings) check(program string, args []string) error {
	if hclog.LevelFromString(s.cfg.LogLevel) == hclog.NoLevel {
		return fmt.Errorf("--log-level %q is unknown: use trace, debug, info, warn or error", s.cfg.LogLevel)
	}
	if bind := s.cfg.BindAddress(); !s.cfg.Insecure && !node.Loopback(bind) {
		return fmt.Errorf("%s is not a loopback address and nothing is encrypted yet, so whoever reaches it can run code here; on a network that you trust, start it with:\n  %s",
			bind, commandLine(program, append(append([]string{}, args...), "--insecure")))
	}
	return s.cfg.Validate()
}

// commandLine is how to type a command in a shell.
func commandLine(program string, args []string) string {
	words := []string{program}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`!*?[](){}<>|&;#~") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

func (s *settings) printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	for _, g := range s.groups {
		fmt.Fprintf(w, "\n%s:\n%s", g.title, FlagHelp(FlagsOf(g.flags)...))
	}
	fmt.Fprint(w, helpTail)
}

// maxQuarantines is how often one process comes back from damage: a disk that damages what is written to it needs a person.
const maxQuarantines = 3

// serve runs the node, and runs it again as another one when its data was damaged and the mesh can do without it.
func serve(cfg node.Config, logger hclog.Logger) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	for range maxQuarantines {
		err := run(cfg, logger, signals)
		var damage *consensus.DamageError
		if !errors.As(err, &damage) {
			return err
		}
		if stopped, err := quarantine(cfg, damage, logger, signals); err != nil || stopped {
			return err
		}
	}
	return run(cfg, logger, signals)
}

// quarantine moves damaged data aside, unless a signal ends the process first.
func quarantine(cfg node.Config, damage *consensus.DamageError, logger hclog.Logger, signals <-chan os.Signal) (stopped bool, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- consensus.Quarantine(ctx, consensus.QuarantineConfig{Path: cfg.DataDir, Damage: damage, Network: consensus.TCP(), Logger: logger})
	}()
	select {
	case err := <-done:
		return false, err
	case <-signals:
		cancel()
		if err := <-done; err != nil {
			return true, damage
		}
		return true, nil
	}
}

// run starts the node and stops it when a signal arrives or when it fails.
func run(cfg node.Config, logger hclog.Logger, signals <-chan os.Signal) error {
	n, err := node.New(cfg, logger)
	if err != nil {
		return err
	}
	starting, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- n.Start(starting) }()
	ended := make(chan error, 1)
	select {
	case err := <-started:
		if err != nil {
			return first(err, stop(n, signals, logger))
		}
		go func() { ended <- n.Wait() }()
	case <-signals:
		cancel()
		<-started
		return stop(n, signals, logger)
	}
	select {
	case err := <-ended:
		return first(err, stop(n, signals, logger))
	case s := <-signals:
		logger.Info("stopping", "signal", s.String())
		return stop(n, signals, logger)
	}
}

// first is the cause, where stopping after a failure may fail again.
func first(cause, later error) error {
	if cause != nil {
		return cause
	}
	return later
}

// stop stops the node; a further signal cuts it short.
func stop(n *node.Node, signals <-chan os.Signal, logger hclog.Logger) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.Stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-signals:
		logger.Warn("second signal: ending at once")
		cancel()
	}
	select {
	case err := <-done:
		return err
	case <-time.After(hardStop):
		return errors.New("ended by a second signal while stopping")
	}
}
