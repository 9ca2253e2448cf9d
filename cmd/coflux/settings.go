package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// globalOptions are the flags that every command has, and the settings made of them.
type globalOptions struct {
	config, host, project, token, workspace, output string
	secure                                          *bool // nil = by the host's name
	help, version                                   bool
}

func (g *globalOptions) flags() *pflag.FlagSet {
	f := newFlagSet("coflux")
	f.StringVarP(&g.config, "config", "c", "coflux.toml", "configuration `FILE`")
	f.StringVar(&g.host, "host", "localhost:7777", "any node of the mesh, `NAME[:PORT]`")
	f.StringVarP(&g.workspace, "workspace", "w", "default", "workspace `NAME`")
	f.StringVarP(&g.output, "output", "o", "", "`json` for one JSON document on stdout")
	f.StringVar(&g.project, "project", "", "project `ID`")
	f.StringVar(&g.token, "token", "", "bearer `TOKEN` (better in COFLUX_TOKEN: flags are visible to others)")
	f.BoolVarP(&g.help, "help", "h", false, "explain the command")
	f.BoolVar(&g.version, "version", false, "print the version")
	return f
}

// fileSettings is the part of the configuration file that these commands read.
type fileSettings struct {
	Host, Project, Token, Workspace, Output string
	Secure                                  *bool
	Modules                                 []string // of a worker; the documentation of Coflux 0.11 has them here too
	Worker                                  struct {
		Adapter, Modules, Provides, Accepts []string
		Concurrency                         int
	}
	Blobs struct { // of a worker
		Threshold int
		Stores    []struct{ Type string }
	}
}

// resolve fills the settings that no flag gave: environment, then file, then the flag's default.
func (a *app) resolve(flags *pflag.FlagSet) error {
	g := &a.opts
	if v := a.getenv("COFLUX_CONFIG"); v != "" && !flags.Changed("config") {
		g.config = v
	}
	var file fileSettings
	if _, err := toml.DecodeFile(g.config, &file); err != nil {
		if !errors.Is(err, fs.ErrNotExist) || flags.Changed("config") {
			fmt.Fprintf(a.stderr, "warning: the configuration file %s was not read: %v\n", g.config, err)
		}
		file = fileSettings{}
	}
	for _, s := range []struct {
		flag string
		to   *string
		file string
	}{
		{"host", &g.host, file.Host}, {"project", &g.project, file.Project}, {"token", &g.token, file.Token},
		{"workspace", &g.workspace, file.Workspace}, {"output", &g.output, file.Output},
	} {
		switch v, set := a.lookupEnv("COFLUX_" + strings.ToUpper(s.flag)); {
		case flags.Changed(s.flag):
		case set:
			*s.to = v
		case s.file != "":
			*s.to = s.file
		}
	}
	a.file = file
	g.secure = file.Secure
	if v := a.getenv("COFLUX_SECURE"); v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("COFLUX_SECURE is %q: it must be true or false", v)
		}
		g.secure = &b
	}
	if g.output != "" && g.output != "json" {
		return fmt.Errorf("the output format %q is unknown: use \"json\", or leave --output, COFLUX_OUTPUT and output out", g.output)
	}
	return nil
}

// getenv is the value of a variable, empty if it is not set.
func (a *app) getenv(name string) string {
	v, _ := a.env(name)
	return v
}

// first gives the first list that is not empty.
func first(lists ...[]string) []string {
	for _, l := range lists {
		if len(l) > 0 {
			return l
		}
	}
	return nil
}

// listenv is a variable that holds a list with commas.
func (a *app) listenv(name string) (list []string) {
	for item := range strings.SplitSeq(a.getenv(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// lookupEnv treats an empty variable as absent, but for the workspace, whose emptiness is an error.
func (a *app) lookupEnv(name string) (string, bool) {
	v, set := a.env(name)
	return v, v != "" || set && name == "COFLUX_WORKSPACE"
}

// baseURL makes a URL of "name[:port]". Nodes of this version speak plain HTTP, so TLS is off unless secure or a scheme in
// front of the host says otherwise (a proxy may bring it).
func baseURL(host string, secure *bool) (string, error) {
	bad := func() (string, error) {
		return "", fmt.Errorf("the host %q is not of the form NAME[:PORT]: check --host, COFLUX_HOST or host in the configuration file", host)
	}
	name, on := host, false
	switch scheme, rest, found := strings.Cut(host, "://"); {
	case !found:
		on = secure != nil && *secure
	case scheme == "http" || scheme == "https":
		name, on = strings.TrimSuffix(rest, "/"), scheme == "https"
	default:
		return bad()
	}
	if name == "" || strings.ContainsAny(name, "/?#@ \t") {
		return bad()
	}
	port := "7777"
	if h, p, err := net.SplitHostPort(name); err == nil {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 || h == "" {
			return bad()
		}
		name, port = h, p
	} else {
		if on {
			port = "443"
		}
		if strings.Count(name, ":") == 1 {
			return bad()
		}
		name = strings.Trim(name, "[]")
	}
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(name, port)}
	if on {
		u.Scheme = "https"
	}
	return u.String(), nil
}
