package pyexec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// holdingHost reads the files of a result only when the process is gone.
type holdingHost struct {
	scriptHost
	result Result
}

func (h *holdingHost) Log(level int, template *string, vs map[string]Value) {
	h.note("%s", *template)
	for _, v := range vs {
		h.note("%s", v.Path)
	}
}

func (h *holdingHost) Result(r Result) { h.result = r }

// Files that carry values are removed when they were read, and not before, wherever the adapter puts them; others stay.
func TestFilesOfValues(t *testing.T) {
	t.Parallel()
	python := os.Getenv("COFLUX_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	adapter, err := filepath.Abs("testdata/carry.py")
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, func(c *Config) { c.Adapter, c.Warm, c.Modules = []string{python, adapter}, 0, []string{"m"} })
	h := &holdingHost{scriptHost: scriptHost{ended: make(chan struct{})}}
	if err := e.pool.Run(Job{ExecutionID: "E:1:1", Module: "m", Target: "t"}, h); err != nil {
		t.Fatal(err)
	}
	<-h.ended
	if h.result.Value == nil || h.result.Release == nil {
		t.Fatalf("%+v %q", h.result, h.lines)
	}
	fragment, ok := ParseFragment(h.result.Value.References[0])
	if !ok {
		t.Fatalf("%s", h.result.Value.References)
	}
	for _, path := range []string{h.result.Value.Path, fragment.Path} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a file of the result is gone before it was read: %v", err)
		}
	}
	temp := strings.TrimSuffix(h.result.Value.Path, "_d")
	h.result.Release()
	h.result.Release()
	if left, _ := filepath.Glob(temp + "_*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if !removed(fragment.Path) {
		t.Errorf("the working directory still has %s", fragment.Path)
	}
	mine := filepath.Join(os.TempDir(), "mine_"+temp[strings.LastIndex(temp, "_")+1:])
	if err := os.Remove(mine); err != nil {
		t.Errorf("a file that is not the package's was removed: %v", err)
	}
}

func TestFragments(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`["fragment","bytes","/f",3,{}]`:               `["fragment","bytes","/f",3,{}]`,
		`["fragment","json","/f",3,{"model":"m.M"}]`:   `["fragment","json","/f",3,{"model":"m.M"}]`,
		`["fragment","odd","/f",3,null]`:               `["fragment","odd","/f",3,{}]`,
		`["fragment","bytes","/f"]`:                    `["fragment","bytes","/f",0,{}]`,
		`["fragment","bytes","",3,{}]`:                 "",
		`["fragment","bytes",null,3,{}]`:               "",
		`["fragment","bytes"]`:                         "",
		`["fragment"]`:                                 "",
		`["execution","R:1:1","m","t"]`:                "",
		`["fragment",5,"/f",3,{}]`:                     "",
		`{"type":"fragment"}`:                          "",
		`[]`:                                           "",
		`5`:                                            "",
		`["fragment","bytes","/f",3,{},"and more",[]]`: `["fragment","bytes","/f",3,{}]`,
	} {
		f, ok := ParseFragment(json.RawMessage(text))
		if ok != (want != "") {
			t.Errorf("%s: %+v %t", text, f, ok)
			continue
		}
		if !ok {
			continue
		}
		if got, err := f.Reference(); err != nil || string(got) != want {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
}
