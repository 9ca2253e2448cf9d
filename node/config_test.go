package node

import (
	"strings"
	"testing"
	"time"
)

func TestConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := Default().Validate(); err != nil {
		t.Fatalf("the default is refused: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"--http-port 70000":        func(c *Config) { c.HTTPPort = 70000 },
		"port 7946 is given twice": func(c *Config) { c.PeerPort = 7946 },
		`--join "nowhere"`:         func(c *Config) { c.Join = []string{"nowhere"} },
		`--allow-origin "*"`:       func(c *Config) { c.AllowOrigins = []string{"*"} },
		"--super-token-hash is no": func(c *Config) { c.SuperTokenHash = "secret" },
		`--repo "flows.py/x"`:      func(c *Config) { c.Repos = []string{"flows.py/x"} },
		`--name "a b"`:             func(c *Config) { c.Name = "a b" },
		"--concurrency 0":          func(c *Config) { c.Concurrency = 0 },
		"--kill-grace -1s":         func(c *Config) { c.KillGrace = -time.Second },
		`--limit: "memory=lots" cannot be a limit: "lots" is not a size`: func(c *Config) { c.Limits = []string{"memory=lots"} },
		`--repo "m@" names no environment`:                               func(c *Config) { c.Repos = []string{"m@"} },
		`--repo "m@env" has an environment of its own`:                   func(c *Config) { c.Repos, c.Adapter = []string{"m@env"}, []string{"x"} },
		`the module m is given twice`:                                    func(c *Config) { c.Repos = []string{"m", "m@env"} },
		"--voters 4":                                                     func(c *Config) { c.Voters = 4 },
		"needs --join":                                                   func(c *Config) { c.BootstrapExpect = 3 },
		`--workspace "a b"`:                                              func(c *Config) { c.Workspace = "a b" },
		"0.0.0.0 is not a loopback":                                      func(c *Config) { c.Bind = "0.0.0.0" },
		`--provides: "" cannot be a value of the tag gpu`:                func(c *Config) { c.Provides = []string{"gpu:"} },
		`--accepts: "g p" cannot name a tag`:                             func(c *Config) { c.Accepts = []string{"g p"} },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want a sentence with %q, got %v", want, err)
		}
	}
}
