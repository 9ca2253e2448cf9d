package pyexec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/coflux-mesh/coflux/pyexec/sdk"
)

// compileScript compiles the package ahead: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every process
// would otherwise do it again.
const compileScript = `import compileall, sys
sys.exit(not compileall.compile_dir(sys.argv[1], quiet=2))`

// compileSDK does it once per interpreter version.
func compileSDK(dir string, p probe) error {
	marker := filepath.Join(dir, "compiled-"+p.version())
	if _, err := os.Stat(marker); err == nil {
		return nil
	}
	cmd := exec.Command(p.Executable, "-S", "-c", compileScript, filepath.Join(dir, "coflux"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the embedded Python package cannot be compiled: %w: %s", err, lastLine(string(out)))
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return fmt.Errorf("the embedded Python package cannot be compiled: %w", err)
	}
	return nil
}

// unpackSDK puts the embedded package into the scratch directory, under a name made of its content, and returns the
// directory for the search path. It appears in one step, so that nodes may share a scratch directory.
func unpackSDK(scratch string) (string, error) {
	files, err := fs.Glob(sdk.Files, "coflux/*")
	if err != nil {
		return "", fmt.Errorf("list the embedded package: %w", err)
	}
	sum := sha256.New()
	content := map[string][]byte{}
	for _, name := range files {
		b, err := sdk.Files.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("read the embedded package: %w", err)
		}
		content[name] = b
		fmt.Fprintf(sum, "%s %d\n%s", name, len(b), b)
	}
	dir := filepath.Join(scratch, "sdk-"+hex.EncodeToString(sum.Sum(nil))[:16])
	if _, err := os.Stat(filepath.Join(dir, "coflux", "__init__.py")); err == nil {
		return dir, nil
	}
	tmp, err := os.MkdirTemp(scratch, "sdk-new-")
	if err != nil {
		return "", fmt.Errorf("cannot unpack the embedded Python package: %w", err)
	}
	defer os.RemoveAll(tmp)
	for name, b := range content {
		file := filepath.Join(tmp, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", fmt.Errorf("cannot unpack the embedded Python package: %w", err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			return "", fmt.Errorf("cannot unpack the embedded Python package: %w", err)
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, serr := os.Stat(filepath.Join(dir, "coflux", "__init__.py")); serr != nil {
			return "", fmt.Errorf("cannot unpack the embedded Python package: %w", err)
		}
	}
	return dir, nil
}
