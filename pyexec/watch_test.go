package pyexec

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// watchers are the ways in which changes are learned of: told by the kernel, or looked for.
var watchers = map[string]func() (*fsnotify.Watcher, error){
	"told":       fsnotify.NewWatcher,
	"no watcher": func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") },
	"no watches": func() (*fsnotify.Watcher, error) { // each Add fails, as when the limit of watches is reached
		w, err := fsnotify.NewWatcher()
		if err == nil {
			err = w.Close()
		}
		return w, err
	},
}

func constant(n string) string {
	return "from coflux import task\n\n@task()\ndef answer():\n    return " + n + "\n"
}

// Every way in which editors and version control put a new text into the place of an old one.
func TestWaysToSave(t *testing.T) {
	t.Parallel()
	for name, watcher := range watchers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWatching(t, watcher, []string{"m", "p"}, map[string]string{"m.py": constant("0"), "p/__init__.py": ""})
			file := filepath.Join(r.dir, "m.py")
			do := func(errs ...error) {
				t.Helper()
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
			}
			inPlace := func(text string) error { return os.WriteFile(file, []byte(text), 0o644) }
			for n, save := range map[string]func(text string){
				"1": func(text string) { write(t, file, text) }, // a new file renamed over the old one
				"2": func(text string) { do(inPlace(text)) },
				"3": func(text string) { do(os.Rename(file, file+"~"), inPlace(text)) }, // the old one kept as a copy
				"4": func(text string) { do(os.Remove(file), inPlace(text)) },
				"5": func(text string) { // in two steps, of which the first leaves half a line
					f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0o644)
					do(err)
					_, err = f.WriteString(text[:20])
					do(err, f.Sync())
					_, err = f.WriteString(text[20:])
					do(err, f.Close())
				},
			} {
				save(constant(n))
				r.serves("m", "answer", n)
			}
			// A package gets another inside it, and loses it.
			write(t, filepath.Join(r.dir, "p/sub/deep/__init__.py"), "")
			write(t, filepath.Join(r.dir, "p/sub/deep/late.py"), constant("6"))
			write(t, filepath.Join(r.dir, "p/sub/__init__.py"), "")
			r.serves("p.sub.deep.late", "answer", "6")
			write(t, filepath.Join(r.dir, "p/sub/deep/late.py"), constant("7"))
			r.serves("p.sub.deep.late", "answer", "7")
			do(os.RemoveAll(filepath.Join(r.dir, "p/sub")))
			r.until("nothing in p", func(d Discovery) bool { return d.Modules[1].Error == "" && len(d.Modules[1].Targets) == 0 })
			// All of it is replaced at once.
			do(os.Rename(r.dir, r.dir+".old"), os.Mkdir(r.dir, 0o755))
			r.until("nothing", func(d Discovery) bool { return strings.Contains(d.Modules[0].Error, "last good code") })
			write(t, file, constant("8"))
			write(t, filepath.Join(r.dir, "p/__init__.py"), "")
			r.serves("m", "answer", "8")
		})
	}
}

// serves waits until a target is offered that answers so.
func (r *reloading) serves(module, target, want string) {
	r.t.Helper()
	got := ""
	r.until(module+"/"+target+" = "+want, func(d Discovery) bool {
		offered := slices.ContainsFunc(d.Modules, func(m Module) bool {
			return m.Error == "" && slices.ContainsFunc(m.Targets, func(t Target) bool { return t.Module == module && t.Name == target })
		})
		if offered {
			got = string(r.start(Job{Module: module, Target: target}).wait(r.t).value)
		}
		return offered && got == want
	})
}

// What changes nothing of the code leads to no discovery.
func TestWhatDoesNotMatter(t *testing.T) {
	t.Parallel()
	s := &sources{watched: map[string]bool{"/src/p": true}}
	dir := t.TempDir()
	for _, c := range []struct {
		ev   fsnotify.Event
		want bool
	}{
		{fsnotify.Event{Name: "/src/m.py", Op: fsnotify.Write}, true},
		{fsnotify.Event{Name: "/src/m.py", Op: fsnotify.Chmod}, false},
		{fsnotify.Event{Name: "/src/.m.py", Op: fsnotify.Create}, false},
		{fsnotify.Event{Name: "/src/m.py~", Op: fsnotify.Create}, false},
		{fsnotify.Event{Name: "/src/.m.py.swp", Op: fsnotify.Write}, false},
		{fsnotify.Event{Name: "/src/__pycache__", Op: fsnotify.Create}, false},
		{fsnotify.Event{Name: "/src/p", Op: fsnotify.Remove}, true},
		{fsnotify.Event{Name: "/src/notes.txt", Op: fsnotify.Remove}, false},
	} {
		if got := s.matters(c.ev); got != c.want {
			t.Errorf("%s: %t", c.ev, got)
		}
	}
	write(t, filepath.Join(dir, "m.py"), "1")
	before := look(dir)
	write(t, filepath.Join(dir, "notes.txt"), "1")
	if err := os.Mkdir(filepath.Join(dir, "__pycache__"), 0o700); err != nil {
		t.Fatal(err)
	}
	if look(dir) != before {
		t.Error("a text and a cache change what a directory looks like")
	}
	write(t, filepath.Join(dir, "m.py"), "2") // of the same size
	if look(dir) == before {
		t.Error("another text looks the same")
	}
}
