package pyexec

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// toolsEnv names a directory with the real poetry and uv.
const toolsEnv = "COFLUX_TEST_TOOLS"

// TestTheRealTools has the real poetry and uv manage a project, each with its environment somewhere else than in the project. It depends
// on the process's environment and directory, so it is not parallel.
func TestTheRealTools(t *testing.T) {
	tools := os.Getenv(toolsEnv)
	if tools == "" {
		t.Skip("it needs poetry and uv: set " + toolsEnv + " to the directory of both")
	}
	project := "[project]\nname = 'shop'\nversion = '1'\nrequires-python = '>=3.10'\ndependencies = []\n"
	for _, c := range []struct {
		tool, more string
		env        func(dir string) (name, value string) // where it makes environments
		install    []string                              // nil = made when it is asked for
	}{
		{"uv", "[tool.uv]\npackage = false\n", func(dir string) (string, string) { return "UV_PROJECT_ENVIRONMENT", filepath.Join(dir, "made") }, nil},
		{"poetry", "[tool.poetry]\npackage-mode = false\n", func(dir string) (string, string) { return "POETRY_VIRTUALENVS_PATH", dir }, []string{"install", "-q"}},
	} {
		t.Run(c.tool, func(t *testing.T) {
			dir, here := t.TempDir(), t.TempDir()
			write(t, filepath.Join(here, "pyproject.toml"), project+c.more)
			t.Setenv("VIRTUAL_ENV", "")
			t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
			t.Setenv(c.env(dir))
			t.Chdir(here)
			if c.install != nil {
				if out, err := exec.Command(c.tool, c.install...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			p, why, err := chooseInterpreter("", nil)
			if err != nil || !strings.HasPrefix(p.Executable, dir) || why != c.tool+" manages the current directory" {
				t.Errorf("%s, because %s: %v", p.Executable, why, err)
			}
		})
	}
}
