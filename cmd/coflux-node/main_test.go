package main

import (
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coflux-mesh/coflux/pyexec"
)

var update = flag.Bool("update", false, "rewrite the expected outputs in the scripts")

func TestMain(m *testing.M) {
	if pyexec.GuardMain() {
		return
	}
	testscript.Main(m, map[string]func(){"coflux-node": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Vars = []string{"PATH=" + os.Getenv("PATH"), "WORK=" + env.WorkDir, "GORACE=atexit_sleep_ms=0", "COFLUX_NODE_NAME=tester"}
			return nil
		},
	})
}
