package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node"
)

const workerHelp = `
Runs the tasks and workflows of Python modules for a mesh, attached to the node that --host names: by its HTTP
port alone, so it also works from behind NAT and through a proxy. It is no node: it keeps no state and does not
vote, so there may be as many as you like, and they may come and go. agent.run registers the modules' workflows,
worker does so with --register.

  coflux agent.run --reload example1.repo
  coflux --host 10.0.0.2 worker --watch --concurrency 8 shop.flows shop.reports

It goes on through restarts of the node and changes of the leader. SIGTERM or Ctrl-C: no new work is taken, what
runs is waited for (--drain-timeout), then it ends with status 0. A second signal ends it at once.

The modules can also stand in the configuration file or in COFLUX_WORKER_MODULES:

  [worker]
  modules = ["shop.flows"]
  concurrency = 8
`

// workerOptions run an agent-only process.
type workerOptions struct {
	user         bool // as agent.run: --reload is the name of --watch, and it registers
	dev, watch   bool
	register     bool
	concurrency  int
	adapter      []string
	path         []string
	provides     []string
	accepts      []string
	python, name string
	executor     string
	drain, grace time.Duration
	limits       []string
	logLevel     string
	flags        *pflag.FlagSet
}

func (o *workerOptions) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	if o.user {
		f.BoolVar(&o.watch, "reload", false, "watch the modules' files: new executions use the new code")
	} else {
		f.BoolVar(&o.watch, "watch", false, "watch the modules' files: new executions use the new code")
		f.BoolVar(&o.register, "register", false, "register the workflows, so that they are listed and can be submitted")
		f.BoolVar(&o.dev, "dev", false, "the same as --watch --register")
	}
	f.IntVar(&o.concurrency, "concurrency", 0, "run at most `N` bodies at once; if not given: processors + 4, at most 32")
	f.StringSliceVar(&o.provides, "provides", nil, "offer this tag, `NAME:VALUE` (NAME alone is NAME:true; repeatable, or with commas), to tasks and workflows that require it")
	f.StringSliceVar(&o.accepts, "accepts", nil, "offer this tag, `NAME:VALUE`, and run only what requires it; several values of a name are alternatives")
	f.StringSliceVar(&o.path, "path", nil, "look for modules in this `DIRECTORY` (repeatable); the current directory if not given")
	f.StringVar(&o.python, "python", "", "run this `INTERPRETER`; if not given: the active virtual environment, .venv, venv, python3, python")
	f.StringSliceVar(&o.adapter, "adapter", nil, "run this `COMMAND` (words separated by commas) that speaks the adapter protocol, instead of Python")
	f.StringVar(&o.executor, "executor", "", "how the process of a body comes to be, `WAY`: fork or spawn; if not given: fork, and spawn with an --adapter")
	f.StringVar(&o.name, "name", "", "`NAME` of this worker, for people; if not given: the host's name and the process id")
	f.StringSliceVar(&o.limits, "limit", nil, "each process of a body may use at most so much, `NAME=VALUE`: memory=2G, cpu=60 (seconds of processor time), files=1024 (repeatable, or with commas)")
	f.DurationVar(&o.grace, "kill-grace", 0, "the time between SIGTERM and SIGKILL for a body that is cancelled or out of time; 0s = no SIGTERM")
	f.DurationVar(&o.drain, "drain-timeout", 2*time.Minute, "when stopping, wait so long for what runs; 0s = for ever")
	f.StringVar(&o.logLevel, "log-level", "", "`LEVEL` of the log on stderr: debug, info, warn, error; if not given: info")
}

func (o *workerOptions) run(ctx context.Context, a *app, args []string) error {
	cfg, err := o.config(a, args)
	if err != nil {
		return err
	}
	if cfg.Client, err = a.client(); err != nil {
		return err
	}
	// Here, so that whatever is wrong with the host, the project or the workspace is said before anything is started.
	if _, err := a.ensureWorkspace(ctx, cfg.Client); err != nil {
		return err
	}
	level := hclog.LevelFromString(o.logLevel)
	logger := hclog.New(&hclog.LoggerOptions{Name: "coflux", Level: level, Output: a.stderr})
	w, err := node.NewWorker(cfg, logger)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- w.Wait() }()
	err = w.Start(ctx)
	if err == nil {
		logger.Info("worker is up", "name", cfg.Name, "node", cfg.Client.Base, "workspace", cfg.Workspace, "slots", cfg.Concurrency)
		select {
		case err = <-failed:
		case <-ctx.Done():
			logger.Info("stopping")
		}
	} else if ctx.Err() != nil {
		err = nil // stopped while it was starting
	}
	return errors.Join(err, w.Stop(context.WithoutCancel(ctx)))
}

// config gathers what flags, variables and the configuration file say.
func (o *workerOptions) config(a *app, args []string) (node.WorkerConfig, error) {
	cfg := node.WorkerConfig{Name: o.name, Workspace: a.opts.workspace, Path: o.path, Python: o.python, Executor: o.executor,
		Watch: o.watch || o.dev, Register: o.register || o.dev || o.user, DrainTimeout: o.drain,
		Limits: o.limits, KillGrace: o.grace}
	for _, s := range a.file.Blobs.Stores {
		if s.Type == "s3" {
			fmt.Fprintf(a.stderr, "warning: blobs.stores of %s does nothing: values go to the node, which keeps them in S3 if it was started with --blob-store\n", a.opts.config)
		}
	}
	var err error
	if cfg.Modules = first(args, a.listenv("COFLUX_WORKER_MODULES"), a.file.Worker.Modules, a.file.Modules); len(cfg.Modules) == 0 {
		return cfg, &hintError{errors.New("no modules: name those whose tasks and workflows this worker runs"),
			"for example: coflux worker example1.repo"}
	}
	cfg.Adapter = first(o.adapter, a.listenv("COFLUX_WORKER_ADAPTER"), a.file.Worker.Adapter)
	if cfg.Concurrency, err = o.slots(a); err != nil {
		return cfg, err
	}
	cfg.BlobThreshold = a.file.Blobs.Threshold
	if text := a.getenv("COFLUX_BLOBS_THRESHOLD"); text != "" {
		if cfg.BlobThreshold, err = strconv.Atoi(text); err != nil {
			return cfg, fmt.Errorf("COFLUX_BLOBS_THRESHOLD is %q: it must be a number of bytes", text)
		}
	}
	// Tags of the command line are added to the others (cli.md 8.2).
	cfg.Provides = append(first(a.listenv("COFLUX_WORKER_PROVIDES"), a.file.Worker.Provides), o.provides...)
	cfg.Accepts = append(first(a.listenv("COFLUX_WORKER_ACCEPTS"), a.file.Worker.Accepts), o.accepts...)
	if cfg.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		cfg.Name = host + "-" + strconv.Itoa(os.Getpid())
	}
	if o.logLevel == "" {
		if o.logLevel = a.getenv("COFLUX_LOG_LEVEL"); o.logLevel == "" {
			o.logLevel = "info"
		}
	}
	if hclog.LevelFromString(o.logLevel) == hclog.NoLevel {
		return cfg, fmt.Errorf("the log level %q is unknown: use debug, info, warn or error", o.logLevel)
	}
	return cfg, cfg.Validate()
}

// slots is the first concurrency that is given and not 0.
func (o *workerOptions) slots(a *app) (int, error) {
	if text := a.getenv("COFLUX_WORKER_CONCURRENCY"); text != "" && o.concurrency == 0 {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, fmt.Errorf("COFLUX_WORKER_CONCURRENCY is %q: it must be a number", text)
		}
		o.concurrency = n
	}
	if o.concurrency == 0 {
		o.concurrency = a.file.Worker.Concurrency
	}
	if o.concurrency == 0 {
		o.concurrency = min(runtime.NumCPU()+4, 32)
	}
	return o.concurrency, nil
}
