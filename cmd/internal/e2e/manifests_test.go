package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestManifests: what a node serves is registered without more, stays so while no node serves it, follows the code, and
// can be archived and registered from outside.
func TestManifests(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.write("shop.py", "from coflux import workflow\n\n@workflow()\ndef old():\n    return 1\n")
	n := m.add("--repo", "flows", "--repo", "shop", "--reload")
	m.ready()
	n.said(`(?m)^flows\n(  .*\n)*  hello\(name\)\n(.*\n)*shop\n  old\(\)\n`, "manifests", "inspect")
	m.write("shop.py", "from coflux import workflow\n\n@workflow()\ndef new(x):\n    return x\n")
	await(t, patience, func() string {
		if o := n.cli("manifests", "inspect"); !strings.Contains(o.stdout, "shop\n  new(x)\n") {
			return "the changed module is not registered: " + o.String()
		}
		return ""
	})
	n.said(`^R\w+\n$`, "submit", "shop/new", "1")
	if o := n.cli("submit", "shop/old"); o.status != 1 || !strings.HasPrefix(o.stderr, "failed to get workflow: not_found: ") {
		t.Errorf("submit what is gone: %s", o)
	}

	n.said(`^Archived module 'shop'\.\n$`, "manifests", "archive", "shop")
	if o := n.cli("manifests", "inspect"); strings.Contains(o.stdout, "shop") {
		t.Errorf("after the archive: %s", o)
	}
	if o := n.cli("submit", "shop/new", "1"); o.status != 1 || !strings.HasPrefix(o.stderr, "failed to get workflow: not_found: ") {
		t.Errorf("submit what was archived: %s", o)
	}
	n.said(`^Manifest\(s\) registered\.\n$`, "manifests", "register", "--path", m.code, "shop")
	n.said(`(?m)^shop\n  new\(x\)\n`, "manifests", "inspect")

	// Nobody serves it: it is still listed and can be submitted, and begins when a node comes that serves it.
	n.stopped()
	serving := slices.Clone(n.args)
	n.args = slices.DeleteFunc(n.args, func(arg string) bool { return slices.Contains([]string{"--repo", "flows", "shop", "--reload"}, arg) })
	n.serves = false
	n.start()
	m.ready()
	n.said(`(?m)^shop\n  new\(x\)\n`, "manifests", "inspect")
	run := n.said(`run: R\w+`, "submit", "shop/new", "2", "--no-wait")
	run = strings.TrimSuffix(run[strings.Index(run, "R"):], ").")
	n.said(`(?m)^`+run+`:1:1 `, "queue", "--no-watch")
	n.stopped()
	n.args, n.serves = serving, true
	n.start()
	m.ready()
	n.said(`^$`, "runs", "inspect", run)
	n.said(`^2\n$`, "runs", "result", run)
}

// TestManifestsFromOutside: a node that leaves the registration to others serves what they register.
func TestManifestsFromOutside(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.add("--repo", "flows", "--register=false")
	m.ready()
	n.said(`^No modules registered\.\n$`, "manifests", "inspect")
	if o := n.cli("submit", "flows/hello", `"Joe"`); o.status != 1 || !strings.HasPrefix(o.stderr, "failed to get workflow: not_found: ") {
		t.Errorf("submit what is not registered: %s", o)
	}
	n.said(`^Manifest\(s\) registered\.\n$`, "manifests", "register", "--path", m.code, "flows")
	n.said(`^R\w+\n$`, "submit", "flows/hello", `"Joe"`)
}
