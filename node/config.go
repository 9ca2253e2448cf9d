package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/coflux-mesh/coflux/node/api"
	"github.com/coflux-mesh/coflux/node/s3"
	"github.com/coflux-mesh/coflux/pyexec"
	"github.com/coflux-mesh/coflux/scheduler"
	"github.com/dustin/go-humanize"
)

// Config says what a node is and how it is reached. Durations of the whole mesh (leases and so on) are replicated
// settings and not here.
type Config struct {
	// Name is for people; default the host's name.
	Name string
	// DataDir holds everything that outlives the process.
	DataDir string
	// BlobStores are where blobs are kept instead of on the nodes, each s3://BUCKET[/PREFIX]: the first is written, and they are read in
	// order. All nodes have to have the same first one.
	BlobStores []string
	// BlobArchive is where copies of all blobs are kept beside those of the nodes: s3://BUCKET[/PREFIX]; "" = nowhere.
	BlobArchive string
	// DiskReserve is how much of its disk stays free of values, files, packs and log lines: 256MiB, 1GB.
	DiskReserve string
	// Bind is the address of all three ports; empty = loopback, or the address that routes to a peer of Join.
	Bind string
	// Advertise is where others reach this node; empty = Bind.
	Advertise string
	// GossipPort (UDP and TCP), PeerPort and HTTPPort; 0 = any free one.
	GossipPort, PeerPort, HTTPPort int
	// Join are gossip addresses host:port of nodes of the mesh. With any, the node never creates a mesh by itself.
	Join []string
	// Repos are the Python modules to serve, each as MODULE or, with an environment of its own, MODULE@INTERPRETER or
	// MODULE@DIRECTORY of a virtual environment; none = a node that runs nothing and only keeps the state.
	Repos []string
	// Path is the module search path; empty = the current directory.
	Path []string
	// Python is the interpreter, Adapter another program that speaks the adapter protocol; empty = found.
	Python  string
	Adapter []string
	// Executor is how Python processes come to be: fork, spawn; empty = what the adapter allows.
	Executor string
	// Provides and Accepts are tags of the form name:value, or name for name:true.
	Provides, Accepts []string
	// Limits are what each process of a body may use at most: memory=2G, cpu=60 (seconds), files=1024.
	Limits []string
	// BlobThreshold is the size in bytes up to which values of bodies are kept in the state, larger ones as blobs; 0 = 4096, or 100 with
	// an Adapter.
	BlobThreshold int
	// KillGrace is the time between SIGTERM and SIGKILL for a body that is cancelled or out of time; 0 = no SIGTERM.
	KillGrace time.Duration
	// Concurrency is the number of slots: bodies that run at once.
	Concurrency int
	// Workspace that the node's agent serves, and Project that requests without one mean.
	Workspace, Project string
	// Register makes the workflows of the repos known at start and reload, so that they can be submitted from then on,
	// served or not.
	Register bool
	// Voters aimed at, of the whole mesh: seeds the replicated setting when the mesh is created.
	Voters int
	// PackAfter is how long finished runs stay in memory, of the whole mesh: likewise.
	PackAfter time.Duration
	// BootstrapExpect: 1 = this node may create the mesh alone; N = together with N-1 others without state.
	BootstrapExpect int
	// Reload watches the files of the repos.
	Reload bool
	// Insecure allows to listen beyond loopback without encryption and authentication.
	Insecure bool
	// AllowHosts are more names by which clients may call this node, beside its addresses, its name and loopback.
	AllowHosts []string
	// AllowOrigins are patterns of origins (api.ValidOrigin) whose web pages may use this node.
	AllowOrigins []string
	// SuperTokenHash is the SHA-256, in hex, of the token that allows administrative requests; empty: they are refused.
	SuperTokenHash string
	// DrainTimeout is how long a stopping node waits for what runs; 0 = for ever.
	DrainTimeout time.Duration
	LogLevel     string
	LogJSON      bool
	// Profile serves Go's profiles on the HTTP port.
	Profile bool
	// Version of the program, shown to others.
	Version string

	// repairGrace is how long members must have stayed before copies are made anew; 0 = the usual. For tests.
	repairGrace time.Duration
	// keepEvery is how often blobs are brought to stores and the archive; 0 = the usual. For tests.
	keepEvery time.Duration
	// stableFor is how long a node must be healthy before it may vote; 0 = the usual. For tests.
	stableFor time.Duration
}

// Default gives the configuration of a node that was told nothing.
func Default() Config {
	name, err := os.Hostname()
	if err != nil {
		name = "node"
	}
	return Config{
		Name: name, DataDir: "coflux-data", DiskReserve: "256MiB", GossipPort: 7946, PeerPort: 7947, HTTPPort: 7777,
		Concurrency: min(runtime.NumCPU()+4, 32), Workspace: "default", Project: "default", Voters: 5, PackAfter: 5 * time.Minute, Register: true,
		DrainTimeout: 2 * time.Minute, LogLevel: "info", Version: "dev",
	}
}

// threshold is the size in bytes up to which values of bodies are no blobs.
func (c Config) threshold() int {
	if c.BlobThreshold == 0 && len(c.Adapter) > 0 {
		return adapterInline
	}
	return c.BlobThreshold
}

// maxKillGrace bounds for how long a body that nobody wants may hold its slot.
const maxKillGrace = 10 * time.Minute

// nodeName is what a node may be called.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// moduleName is a dotted Python name.
var moduleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// Validate says in one sentence what is wrong with the configuration.
func (c Config) Validate() error {
	if err := c.checkPorts(); err != nil {
		return err
	}
	for _, j := range c.Join {
		if host, port, err := net.SplitHostPort(j); err != nil || host == "" || port == "" {
			return fmt.Errorf("--join %q is not of the form host:port, for example --join 10.0.0.1:7946", j)
		}
	}
	if err := c.checkRepos(); err != nil {
		return err
	}
	for _, o := range c.AllowOrigins {
		if !api.ValidOrigin(o) {
			return fmt.Errorf("--allow-origin %q is no origin of web pages: write scheme, host and port, for example https://flows.example.com or http://localhost:*", o)
		}
	}
	if _, err := scheduler.ParseTags(c.Provides); err != nil {
		return fmt.Errorf("--provides: %w", err)
	}
	if _, err := scheduler.ParseTags(c.Accepts); err != nil {
		return fmt.Errorf("--accepts: %w", err)
	}
	if _, err := pyexec.ParseLimits(c.Limits); err != nil {
		return fmt.Errorf("--limit: %w", err)
	}
	if c.SuperTokenHash != "" && !api.ValidTokenHash(c.SuperTokenHash) {
		return errors.New("--super-token-hash is no SHA-256 in hex, 64 digits: make one with 'printf %s TOKEN | sha256sum'")
	}
	if c.BlobThreshold < 0 || c.BlobThreshold > maxInline {
		return fmt.Errorf("--blob-threshold %d is not possible: give 0 to %d bytes", c.BlobThreshold, maxInline)
	}
	if err := c.checkBuckets(); err != nil {
		return err
	}
	if reserve, err := humanize.ParseBytes(c.DiskReserve); err != nil || reserve > 1<<50 {
		return fmt.Errorf("--disk-reserve %q is no size: write it like 256MiB or 1GB; 0 keeps nothing", c.DiskReserve)
	}
	switch {
	case !nodeName.MatchString(c.Name):
		return fmt.Errorf("--name %q cannot name a node: use letters, digits, dots, _ and -, at most 63", c.Name)
	case c.DataDir == "":
		return errors.New("--data-dir is empty: name a directory for the node's state")
	case c.Concurrency < 1 || c.Concurrency > 10_000:
		return fmt.Errorf("--concurrency %d is not possible: give 1 to 10000", c.Concurrency)
	case c.PackAfter < time.Second || c.PackAfter > 365*24*time.Hour:
		return fmt.Errorf("--pack-after %v is not possible: give a second to a year", c.PackAfter)
	case c.Voters < 1 || c.Voters > 9 || c.Voters%2 == 0:
		return fmt.Errorf("--voters %d is not possible: give 1, 3, 5, 7 or 9", c.Voters)
	case c.BootstrapExpect < 0 || c.BootstrapExpect > 9:
		return fmt.Errorf("--bootstrap-expect %d is not possible: give 1 to 9, or 0 to leave it out", c.BootstrapExpect)
	case c.BootstrapExpect > 1 && len(c.Join) == 0:
		return errors.New("--bootstrap-expect of 2 or more needs --join, to find the others")
	case c.DrainTimeout < 0:
		return fmt.Errorf("--drain-timeout %s is negative: give 0 for no limit, or a duration such as 30s", c.DrainTimeout)
	case c.KillGrace < 0 || c.KillGrace > maxKillGrace:
		return fmt.Errorf("--kill-grace %s is not possible: give 0 to kill at once, or a duration up to %s, for example 5s", c.KillGrace, maxKillGrace)
	case !scheduler.ValidWorkspace(c.Workspace):
		return fmt.Errorf("--workspace %q cannot name a workspace: use letters, digits, _ and - in segments between slashes", c.Workspace)
	case strings.TrimSpace(c.Project) == "":
		return errors.New("--project must not be empty")
	case !c.Insecure && !Loopback(c.BindAddress()):
		return fmt.Errorf("%s is not a loopback address and this version has no encryption: anybody who reaches it could run code on it; add --insecure to accept that on a network that you trust", c.BindAddress())
	}
	return nil
}

func (c Config) checkPorts() error {
	for _, p := range []struct {
		flag string
		port int
	}{{"--gossip-port", c.GossipPort}, {"--peer-port", c.PeerPort}, {"--http-port", c.HTTPPort}} {
		if p.port < 0 || p.port > 65535 {
			return fmt.Errorf("%s %d is no port: give a number from 1 to 65535, or 0 for any free one", p.flag, p.port)
		}
	}
	ports := []int{c.GossipPort, c.PeerPort, c.HTTPPort}
	for i, p := range ports {
		if p != 0 && slices.Contains(ports[i+1:], p) {
			return fmt.Errorf("port %d is given twice: --gossip-port, --peer-port and --http-port must differ", p)
		}
	}
	return nil
}

// Loopback tells whether an address can only be reached from its own machine.
func Loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// BindAddress is where the node listens: Bind, or else loopback, or the address that routes to the first peer of Join
// that is not on loopback itself.
func (c Config) BindAddress() string {
	if c.Bind != "" {
		return c.Bind
	}
	for _, j := range c.Join {
		host, _, err := net.SplitHostPort(j)
		if err != nil || Loopback(host) {
			continue
		}
		// Connecting a UDP socket sends nothing; it only asks the routing table.
		conn, err := net.Dial("udp", j)
		if err != nil {
			continue
		}
		defer conn.Close()
		if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok {
			return addr.IP.String()
		}
	}
	return "127.0.0.1"
}

// createsAlone tells whether the node creates a mesh by itself when it has no state (rules A10).
func (c Config) createsAlone() bool {
	if c.BootstrapExpect == 1 {
		return true
	}
	return c.BootstrapExpect == 0 && len(c.Join) == 0 && Loopback(c.BindAddress())
}

// checkRepos says what is wrong with Repos.
func (c Config) checkRepos() error {
	seen := map[string]bool{}
	for _, r := range c.Repos {
		module, env, own := strings.Cut(r, "@")
		switch {
		case !moduleName.MatchString(module):
			return fmt.Errorf("--repo %q is not the name of a Python module: write it as in an import statement, for example example1.repo, or example1.repo@./envs/example1 with an environment of its own", r)
		case own && env == "":
			return fmt.Errorf("--repo %q names no environment after the @: give an interpreter or the directory of a virtual environment", r)
		case own && len(c.Adapter) > 0:
			return fmt.Errorf("--repo %q has an environment of its own, which --adapter does not allow: leave one of them out", r)
		case seen[module]:
			return fmt.Errorf("--repo %q: the module %s is given twice", r, module)
		}
		seen[module] = true
	}
	return nil
}

// modules are the names of Repos, and the environments of those that have their own.
func (c Config) modules() (names []string, environments map[string]string) {
	environments = map[string]string{}
	for _, r := range c.Repos {
		module, env, _ := strings.Cut(r, "@")
		names = append(names, module)
		if env != "" {
			environments[module] = env
		}
	}
	return names, environments
}

// checkBuckets refuses places that name none, and one that is named twice: it would be written and given up at once.
func (c Config) checkBuckets() error {
	seen := map[string]bool{}
	check := func(flag, place string) error {
		if _, _, err := s3.Split(place); err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		if place = strings.TrimRight(place, "/"); seen[place] {
			return fmt.Errorf("%s names %s, which was named before: name each place once", flag, place)
		}
		seen[place] = true
		return nil
	}
	for _, place := range c.BlobStores {
		if err := check("--blob-store", place); err != nil {
			return err
		}
	}
	if c.BlobArchive == "" {
		return nil
	}
	return check("--blob-archive", c.BlobArchive)
}
