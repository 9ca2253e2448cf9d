package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/coflux-mesh/coflux/node"
)

// envPrefix begins the variables: --data-dir is COFLUX_NODE_DATA_DIR.
const envPrefix = "COFLUX_NODE_"

// settings are the flags of a node.
type settings struct {
	cfg           node.Config
	config        string
	help, version bool
	groups        []group
}

// group is a part of the help.
type group struct {
	title string
	flags *pflag.FlagSet
}

// newSettings declares all flags, in the groups and the order in which the help shows them.
func newSettings() *settings {
	s := &settings{cfg: node.Default()}
	c := &s.cfg

	f := s.group("Python")
	f.StringSliceVar(&c.Repos, "repo", c.Repos, "serve the tasks and workflows of this `MODULE` (repeatable); MODULE@ENV runs it with an interpreter, or the directory of a virtual environment, of its own; without any the node runs no Python and only keeps the state")
	f.StringSliceVar(&c.Path, "path", c.Path, "look for modules in this `DIRECTORY` (repeatable); the current directory if not given")
	f.StringVar(&c.Python, "python", c.Python, "run this `INTERPRETER`; if not given: the active virtual environment, .venv, venv, what poetry or uv say for the current directory, python3, python")
	f.StringSliceVar(&c.Adapter, "adapter", c.Adapter, "run this `COMMAND` (words separated by commas) that speaks the adapter protocol, instead of Python")
	f.StringVar(&c.Executor, "executor", c.Executor, "how the process of a body comes to be, `WAY`: fork, from one that has imported its module, or spawn, by itself; if not given: fork, and spawn with an --adapter")
	f.StringSliceVar(&c.Limits, "limit", c.Limits, "each process of a body may use at most so much, `NAME=VALUE`: memory=2G, cpu=60 (seconds of processor time), files=1024 (repeatable, or with commas); a task's own limits can be tighter")
	f.IntVar(&c.BlobThreshold, "blob-threshold", c.BlobThreshold, "keep values of up to so many `BYTES` in the replicated state, and larger ones as blobs; 0 = 4096, or 100 with an --adapter")
	f.DurationVar(&c.KillGrace, "kill-grace", c.KillGrace, "ask a body that is cancelled or out of time to end, with SIGTERM to its process group, and kill it after this `DURATION`; 0s = kill at once. The fence of a node that lost the mesh never waits")
	f.IntVar(&c.Concurrency, "concurrency", c.Concurrency, "run at most `N` bodies at once; one that waits for another does not count")
	f.StringSliceVar(&c.Provides, "provides", c.Provides, "offer this tag, `NAME:VALUE` (NAME alone is NAME:true; repeatable, or with commas), to tasks and workflows that require it")
	f.StringSliceVar(&c.Accepts, "accepts", c.Accepts, "offer this tag, `NAME:VALUE`, and run only what requires it; several values of a name are alternatives")
	f.BoolVar(&c.Register, "register", c.Register, "register the workflows at start and reload, so that they can be submitted even while nobody serves them; with --register=false 'coflux manifests register' has to do it")
	f.BoolVar(&c.Reload, "reload", c.Reload, "watch the modules' files: new executions use the new code, broken code leaves the last good one serving")

	f = s.group("Mesh")
	f.StringSliceVar(&c.Join, "join", c.Join, "join the mesh of the node with this gossip address, `HOST:PORT` (repeatable; names are resolved at every dial)")
	f.StringVar(&c.Name, "name", c.Name, "`NAME` of this node, for people")
	f.IntVar(&c.BootstrapExpect, "bootstrap-expect", c.BootstrapExpect, "create the mesh as soon as `N` nodes without state have found each other; 1 = alone. On loopback, without --join and without state, a node creates one by itself")
	f.DurationVar(&c.PackAfter, "pack-after", c.PackAfter, "finished runs leave memory for packs on disk after `TIME`; of the whole mesh, like --voters")
	f.IntVar(&c.Voters, "voters", c.Voters, "nodes that vote, of the whole mesh: `N` is used by the node that creates it")
	f.StringVar(&c.Workspace, "workspace", c.Workspace, "serve this `WORKSPACE`")
	f.StringVar(&c.Project, "project", c.Project, "`ID` of the project that requests without one mean")

	f = s.group("Network")
	f.StringVar(&c.Bind, "bind", c.Bind, "listen on this `ADDRESS`; if not given: loopback, or what routes to the peer of --join")
	f.StringVar(&c.Advertise, "advertise", c.Advertise, "tell others to reach this node at this `ADDRESS`; if not given: that of --bind")
	f.IntVar(&c.GossipPort, "gossip-port", c.GossipPort, "`PORT` (UDP and TCP) on which the nodes know each other; 0 = any free one")
	f.IntVar(&c.PeerPort, "peer-port", c.PeerPort, "`PORT` for replication and calls between nodes; 0 = any free one")
	f.IntVar(&c.HTTPPort, "http-port", c.HTTPPort, "`PORT` for clients; 0 = any free one")
	f.StringSliceVar(&c.AllowHosts, "allow-host", c.AllowHosts, "answer clients that call this node by this `NAME`, beside its addresses and its own name (repeatable)")
	f.StringSliceVar(&c.AllowOrigins, "allow-origin", c.AllowOrigins, "let web pages of this `ORIGIN` use this node, for example https://flows.example.com; one * may stand in it (repeatable)")
	f.StringVar(&c.SuperTokenHash, "super-token-hash", c.SuperTokenHash, "`HASH` (SHA-256 in hex) of the token that allows administrative requests: /api/rotate_epoch and /api/rotate_logs, kept for scripts that call them, which have nothing to do here")
	f.BoolVar(&c.Insecure, "insecure", c.Insecure, "listen beyond loopback although nothing is encrypted and nobody is asked who he is")

	f = s.group("Process")
	f.StringVar(&c.DataDir, "data-dir", c.DataDir, "keep the state in this `DIRECTORY`")
	f.StringSliceVar(&c.BlobStores, "blob-store", c.BlobStores, "keep values, files and packs in this bucket, `s3://BUCKET[/PREFIX]`, and on nodes only what was written or read within two hours; the variables of AWS say how it is reached. Repeated: the first is written, all are read in order. All nodes need the same first one")
	f.StringVar(&c.BlobArchive, "blob-archive", c.BlobArchive, "keep a copy of every value, file and pack in this bucket too, `s3://BUCKET[/PREFIX]`, and read from there what no node has; the variables of AWS say how it is reached. All nodes should have the same")
	f.StringVar(&c.DiskReserve, "disk-reserve", c.DiskReserve, "keep `SIZE` of the disk free for the state: values, files, packs and log lines that would leave less are refused, and so are new runs when a majority of the voters has less")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "when stopping, wait so long for what runs; 0s = for ever")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "`LEVEL` of the log on stderr: trace, debug, info, warn, error")
	f.BoolVar(&c.LogJSON, "log-json", c.LogJSON, "log JSON lines")
	f.BoolVar(&c.Profile, "pprof", c.Profile, "serve Go's profiles of this node at /debug/pprof/ of the HTTP port")
	f.StringVarP(&s.config, "config", "c", "", "read settings from this TOML `FILE`; its keys are the flags' names without --")
	f.BoolVarP(&s.help, "help", "h", false, "print this text")
	f.BoolVar(&s.version, "version", false, "print the version")
	return s
}

func (s *settings) group(title string) *pflag.FlagSet {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	f.SortFlags = false
	s.groups = append(s.groups, group{title, f})
	return f
}

// parse reads the settings: flag, else environment, else file, else default.
func (s *settings) parse(args []string, env func(string) (string, bool)) error {
	all := pflag.NewFlagSet("node", pflag.ContinueOnError)
	all.SetOutput(io.Discard)
	all.Usage = func() {}
	for _, g := range s.groups {
		all.AddFlagSet(g.flags)
	}
	if err := all.Parse(args); err != nil {
		return fmt.Errorf("%w; --help explains the flags", err)
	}
	if all.NArg() > 0 {
		return fmt.Errorf("the argument %q is not expected: modules are given with --repo", all.Arg(0))
	}
	if s.help || s.version {
		return nil
	}
	given := map[string]bool{}
	all.Visit(func(f *pflag.Flag) { given[f.Name] = true })
	var bad error
	all.VisitAll(func(f *pflag.Flag) {
		name := envName(f.Name)
		v, ok := env(name)
		if given[f.Name] || !ok || v == "" || !configurable(f.Name) && f.Name != "config" || bad != nil {
			return
		}
		given[f.Name] = true
		if err := f.Value.Set(v); err != nil {
			bad = fmt.Errorf("%s=%q does not fit --%s: %w", name, v, f.Name, err)
		}
	})
	if bad != nil || s.config == "" {
		return bad
	}
	return s.readFile(all, given)
}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configurable tells the settings from what only makes sense on the command line.
func configurable(flag string) bool { return flag != "help" && flag != "version" && flag != "config" }

// readFile takes what was not given otherwise from the TOML file. Keys may be written with - or _.
func (s *settings) readFile(all *pflag.FlagSet, given map[string]bool) error {
	var file map[string]any
	if _, err := toml.DecodeFile(s.config, &file); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the configuration file %s does not exist: check --config and %sCONFIG", s.config, envPrefix)
		}
		return fmt.Errorf("the configuration file %s cannot be read: %w", s.config, err)
	}
	keys := make([]string, 0, len(file))
	for k := range file {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, key := range keys {
		f := all.Lookup(strings.ReplaceAll(key, "_", "-"))
		if f == nil || !configurable(f.Name) {
			return fmt.Errorf("the key %q in %s is unknown: the keys are the names of the flags, see --help", key, s.config)
		}
		if given[f.Name] {
			continue
		}
		if err := setFromTOML(f, file[key]); err != nil {
			return fmt.Errorf("the key %q in %s does not fit --%s: %w", key, s.config, f.Name, err)
		}
	}
	return nil
}

func setFromTOML(f *pflag.Flag, v any) error {
	list, isList := v.([]any)
	slice, wantsList := f.Value.(pflag.SliceValue)
	switch {
	case isList && wantsList:
		items := make([]string, len(list))
		for i, item := range list {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("%v is not a string", item)
			}
			items[i] = text
		}
		return slice.Replace(items)
	case isList:
		return errors.New("a list is not possible here")
	}
	switch v := v.(type) {
	case string, int64, bool:
		return f.Value.Set(fmt.Sprint(v))
	}
	return fmt.Errorf("%v is neither text nor number nor true or false", v)
}
