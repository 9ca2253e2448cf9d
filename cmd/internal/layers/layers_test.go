package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/coflux-mesh/coflux"

// may is who may import whom: arrows point down only. A new package is a new row. A row that ends with /... stands for
// all packages below.
var may = map[string][]string{
	"cmd/coflux-node":     {"node", "pyexec", "cmd/internal/..."},
	"cmd/coflux":          {"node", "node/api/client", "node/backup", "pyexec", "cmd/internal/..."},
	"cmd/coflux-checker":  {"cmd/internal/..."},
	"cmd/internal/daemon": {"node", "consensus", "pyexec", "cmd/internal/..."}, // consensus: its errors have exit statuses
	"cmd/internal/...":    {"node", "node/api/client", "pyexec", "cmd/internal/..."},
	"node":                {"node/...", "scheduler", "consensus", "consensus/state", "pyexec", "pyexec/..."},
	"node/api":            {"node/api/client", "scheduler", "consensus", "consensus/state", "node/asset", "node/blob", "node/journal", "node/schema"},
	"node/api/client":     nil,
	"node/ui":             nil,
	"node/schema":         nil,
	"node/gossip":         nil,
	"node/asset":          nil,
	"node/backup":         {"node/s3"},
	"node/s3":             nil,
	"node/blob":           nil,
	"node/pack":           {"consensus/state"},
	"node/journal":        nil,
	"scheduler":           {"consensus/state"},
	"consensus":           {"consensus/state"},
	"consensus/memnet":    nil, // a network in memory, for tests
	"consensus/state":     nil,
	"pyexec":              {"pyexec/sdk"},
	"pyexec/sdk":          nil,
}

// source is one Go file of the repository.
type source struct {
	dir, name string // relative to the repository
	lines     int
	file      *ast.File
	fset      *token.FileSet
}

func (s source) at(pos token.Pos) string {
	return path.Join(s.dir, s.name) + ":" + strconv.Itoa(s.fset.Position(pos).Line)
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// sources parses every Go file below the repository's top.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	var all []source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); file != root && (strings.HasPrefix(name, ".") || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		dir, name := path.Split(filepath.ToSlash(rel))
		all = append(all, source{strings.TrimSuffix(dir, "/"), name, strings.Count(string(text), "\n"), parsed, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func covers(row, dir string) bool {
	if above, all := strings.CutSuffix(row, "/..."); all {
		return strings.HasPrefix(dir, above+"/")
	}
	return row == dir
}

// row finds the row of a package; an exact one comes first.
func row(dir string) (allowed []string, ok bool) {
	if allowed, ok := may[dir]; ok {
		return allowed, true
	}
	for r, allowed := range may {
		if covers(r, dir) {
			return allowed, true
		}
	}
	return nil, false
}

func imports(s source) []string {
	var out []string
	for _, spec := range s.file.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		out = append(out, p)
	}
	return out
}

func TestLayers(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		allowed, known := row(s.dir)
		if !known {
			t.Errorf("%s/%s: package %q has no row in the table of layers", s.dir, s.name, s.dir)
			continue
		}
		if s.test() {
			continue // tests may look where they like
		}
		for _, p := range imports(s) {
			ours, found := strings.CutPrefix(p, module+"/")
			if !found {
				continue
			}
			if !slices.ContainsFunc(allowed, func(r string) bool { return covers(r, ours) }) {
				t.Errorf("%s/%s imports %s: %s may import %v", s.dir, s.name, ours, s.dir, allowed)
			}
		}
	}
}

// The table itself must not go round in circles.
func TestTheTablePointsDown(t *testing.T) {
	t.Parallel()
	var climb func(dir string, above []string)
	climb = func(dir string, above []string) {
		if slices.Contains(above, dir) {
			t.Errorf("a circle: %v", append(above, dir))
			return
		}
		for _, r := range may[dir] {
			for next := range may {
				if next != dir && !strings.HasSuffix(next, "/...") && covers(r, next) {
					climb(next, append(slices.Clone(above), dir))
				}
			}
		}
	}
	for dir := range may {
		climb(dir, nil)
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	t.Parallel()
	comments, tests := map[string]int{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			tests[s.dir] = true
			continue
		}
		comments[s.dir] += 0
		if s.file.Doc != nil && !strings.HasPrefix(s.file.Doc.Text(), "Code generated") {
			comments[s.dir]++
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want one", dir, n)
		}
	}
	for dir := range tests {
		if _, code := comments[dir]; !code {
			t.Errorf("package %s consists of tests alone and says nowhere what it is: add a doc.go", dir)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	const maxFile, maxFunction = 600, 100
	for _, s := range sources(t) {
		if s.lines > maxFile {
			t.Errorf("%s/%s has %d lines, at most %d", s.dir, s.name, s.lines, maxFile)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test() {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%s: function %s has %d lines, at most %d", s.at(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

func TestNoInit(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init(): tables of contents are literal slices", s.at(f.Pos()))
			}
		}
	}
}
