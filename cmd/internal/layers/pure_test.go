package layers

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// pure are the packages whose results depend on their arguments alone (style.md 7): the clock and chance come in by one
// door, as arguments.
var pure = []string{"scheduler", "consensus/state"}

// notPure must not be imported there.
var notPure = []string{"os", "net", "net/http", "math/rand", "crypto/rand", "syscall", "os/exec", "golang.org/x/sys/unix"}

// allowedOf are all that may be used of a package there; others of it read the clock or global chance.
var allowedOf = map[string][]string{
	"time":         {"Duration", "Time", "Millisecond", "Second", "Minute", "Hour", "UnixMilli", "Unix"},
	"math/rand/v2": {"Rand", "New", "NewPCG", "NewChaCha8", "Source"},
}

func TestPurePackages(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test() || !slices.Contains(pure, s.dir) {
			continue
		}
		names := map[string][]string{} // of an import in this file -> what may be used of it
		for _, p := range imports(s) {
			if slices.Contains(notPure, p) {
				t.Errorf("%s/%s imports %s: its results depend on their arguments alone", s.dir, s.name, p)
			}
			if allowed, ok := allowedOf[p]; ok {
				names[importName(s, p)] = allowed
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a goroutine in a package that only computes", s.at(n.Pos()))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					return true
				}
				if allowed, ok := names[x.Name]; ok && !slices.Contains(allowed, n.Sel.Name) {
					t.Errorf("%s: %s.%s: time and chance are arguments here", s.at(n.Pos()), x.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
}

func importName(s source, p string) string {
	for _, spec := range s.file.Imports {
		if strings.Trim(spec.Path.Value, `"`) == p && spec.Name != nil {
			return spec.Name.Name
		}
	}
	if p == "math/rand/v2" {
		return "rand"
	}
	return p[strings.LastIndexByte(p, '/')+1:]
}
