package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coflux-mesh/coflux/node/api/client"
	"github.com/coflux-mesh/coflux/node/blob"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// WorkerConfig says what an agent-only process runs and to which node it is attached.
type WorkerConfig struct {
	// Client reaches the node, by its HTTP port alone.
	Client *client.Client
	// Name is for people; Workspace is a name, made when it does not exist.
	Name, Workspace string
	// Modules are as Repos in Config, the others as there.
	Modules           []string
	Path              []string
	Python            string
	Adapter           []string
	Executor          string
	Concurrency       int
	Limits            []string
	KillGrace         time.Duration
	Provides, Accepts []string
	BlobThreshold     int
	// Watch takes changed code into use without a restart.
	Watch bool
	// DrainTimeout is how long a stopping worker waits for what runs; 0 = for ever.
	DrainTimeout time.Duration
	// Register registers the workflows, so that they are listed and can be submitted by name.
	Register bool
}

// node is the part of the configuration that a node has too, with what it must have beside.
func (c WorkerConfig) node() Config {
	n := Default()
	n.Name, n.Workspace, n.Repos, n.Path, n.Python, n.Adapter, n.Executor = c.Name, c.Workspace, c.Modules, c.Path, c.Python, c.Adapter, c.Executor
	n.Concurrency, n.Limits, n.KillGrace, n.Provides, n.Accepts = c.Concurrency, c.Limits, c.KillGrace, c.Provides, c.Accepts
	n.DrainTimeout, n.BlobThreshold = c.DrainTimeout, c.BlobThreshold
	return n
}

// Validate says in one sentence what is wrong with the configuration.
func (c WorkerConfig) Validate() error {
	err := c.node().Validate()
	if err == nil {
		return nil
	}
	words := strings.NewReplacer("--repo ", "the module ", "--blob-threshold ", "blobs.threshold (COFLUX_BLOBS_THRESHOLD) ")
	return errors.New(words.Replace(err.Error())) // no flags here
}

// Worker is the half of a node that executes, as a process of its own: it neither gossips nor votes, keeps nothing that
// outlives it, and reaches the mesh through one node's HTTP port (architecture 4).
type Worker struct {
	cfg   WorkerConfig
	log   hclog.Logger
	id    string // that of a node in the mesh's eyes
	dir   string // scratch, removed at the end
	lock  *os.File
	local *blob.Local
	pool  *pyexec.Pool
	agent *agent
	logs  *logQueue
	// metrics are those of its bodies, on their way.
	metrics *logQueue
	// registered last by this start.
	registered []scheduler.ModuleManifest

	run   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
	fatal chan error
	once  sync.Once
}

// NewWorker prepares a worker; nothing runs yet.
func NewWorker(cfg WorkerConfig, logger hclog.Logger) (_ *Worker, err error) {
	w := &Worker{cfg: cfg, log: logger, id: scheduler.WorkerPrefix + strings.ToLower(rand.Text()), fatal: make(chan error, 1)}
	w.run, w.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			w.release()
		}
	}()
	if w.dir, w.lock, err = workerDir(logger); err != nil {
		return nil, err
	}
	if w.local, err = blob.Open(w.dir); err != nil {
		return nil, err
	}
	if w.pool, err = newPool(cfg.node(), w.dir, w.id+"/"+strconv.Itoa(os.Getpid()), logger, nil); err != nil {
		return nil, err
	}
	provides, err := scheduler.ParseTags(cfg.Provides)
	if err != nil {
		return nil, fmt.Errorf("--provides: %w", err)
	}
	accepts, err := scheduler.ParseTags(cfg.Accepts)
	if err != nil {
		return nil, fmt.Errorf("--accepts: %w", err)
	}
	w.logs = newLogQueue(logGather, remoteLogs{cfg.Client.PostLogs, logger}.send, logger)
	w.metrics = newLogQueue(metricGather, remoteLogs{cfg.Client.PostMetrics, logger}.send, logger)
	w.agent = newAgent(agentConfig{
		Open: scheduler.OpenSession{Workspace: cfg.Workspace, Node: w.id, NodeName: cfg.Name, Boot: w.id, Slots: cfg.Concurrency,
			Provides: provides, Accepts: accepts},
		Runner: w.pool, Values: values{workerBlobs{blob.NewMesh(w.id, w.local, remoteBlobs{cfg.Client}, logger), w.local, cfg.Client}, cfg.node().threshold()},
		Log: w.logs, Metrics: w.metrics, Logger: logger.Named("agent"), Clock: boottime, Dial: w.dial, Announce: w.tellGuard,
	})
	return w, nil
}

// Start imports the modules and connects. It fails when there is nothing to serve.
func (w *Worker) Start(ctx context.Context) error {
	w.wg.Go(func() { w.logs.run(w.run) })
	w.wg.Go(func() { w.metrics.run(w.run) })
	w.wg.Go(func() { w.trimBlobs(w.run) })
	w.tellGuard()
	if err := w.pool.Start(ctx); err != nil {
		return err
	}
	first, err := w.pool.Discover(ctx)
	if err != nil {
		return err
	}
	if len(declared(first)) == 0 {
		return noTargets(first)
	}
	w.discovered(first)
	w.agent.Start()
	if w.cfg.Watch {
		w.wg.Go(func() { watchModules(w.run, w.pool, first, w.discovered) })
	}
	return nil
}

// noTargets says why there is nothing to serve.
func noTargets(d pyexec.Discovery) error {
	var names []string
	for _, m := range d.Modules {
		if m.Error != "" {
			return fmt.Errorf("module %s cannot be imported: %s", m.Name, m.Error)
		}
		names = append(names, m.Name)
	}
	return fmt.Errorf("no targets in %s: mark functions with @workflow() or @task()", strings.Join(names, ", "))
}

// discovered takes over what the modules offer now.
func (w *Worker) discovered(d pyexec.Discovery) {
	logModules(w.log, d)
	var registered []scheduler.ModuleManifest
	if w.cfg.Register {
		registered = registering(w.log, d, &w.registered)
	}
	w.agent.Declare(declared(d), registered)
}

// Wait returns why the worker cannot go on; never after Stop.
func (w *Worker) Wait() error { return <-w.fatal }

func (w *Worker) halt(err error) {
	select {
	case w.fatal <- err:
	default:
	}
}

// Stop waits for what runs, as long as DrainTimeout and ctx allow, and ends.
func (w *Worker) Stop(ctx context.Context) error {
	var err error
	w.once.Do(func() {
		if w.agent.ctx != nil { // it was started
			drain, cancel := ctx, context.CancelFunc(func() {})
			if w.cfg.DrainTimeout > 0 {
				drain, cancel = context.WithTimeout(ctx, w.cfg.DrainTimeout)
			}
			w.agent.Drain(drain)
			cancel()
		}
		w.agent.Stop()
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if e := w.pool.Stop(kill); e != nil {
			err = fmt.Errorf("the Python processes did not end: %w", e)
		}
		w.logs.flush(kill)
		w.metrics.flush(kill)
		w.end()
		w.wg.Wait()
		w.release()
	})
	return err
}

// release gives back what NewWorker took.
func (w *Worker) release() {
	w.end()
	if w.local != nil {
		w.local.Close()
	}
	if w.dir != "" {
		_ = os.RemoveAll(w.dir) // what stays is swept by the next worker
		_ = w.lock.Close()
	}
}

// workerDirs is how the directories of workers are called, below the system's for temporary files; newWorkerDirs before they
// are locked.
const (
	workerDirs    = "coflux-worker-"
	newWorkerDirs = "coflux-new-"
)

// workerDir makes a directory for this process and removes those of workers that died: their locks are free.
func workerDir(logger hclog.Logger) (dir string, lock *os.File, err error) {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), workerDirs+"*")) // the patterns are valid
	half, _ := filepath.Glob(filepath.Join(os.TempDir(), newWorkerDirs+"*"))
	for _, d := range half {
		if info, err := os.Stat(d); err == nil && time.Since(info.ModTime()) > time.Minute { // else it may be locked soon
			old = append(old, d)
		}
	}
	for _, d := range old {
		f, err := lockDir(d)
		if err != nil {
			continue // alive, or somebody else's
		}
		if err := os.RemoveAll(d); err != nil {
			logger.Debug("the directory of a dead worker stays", "dir", d, "error", err)
		}
		_ = f.Close()
	}
	// Under another name until it is locked: a worker that starts just now must not take it for a dead one's.
	fresh, err := os.MkdirTemp("", newWorkerDirs)
	if err == nil {
		lock, err = lockDir(fresh)
	}
	if err == nil {
		dir = filepath.Join(os.TempDir(), workerDirs+strings.TrimPrefix(filepath.Base(fresh), newWorkerDirs))
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("a worker needs a directory for temporary files: %w; set TMPDIR to one that can be written", err)
	}
	return dir, lock, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
