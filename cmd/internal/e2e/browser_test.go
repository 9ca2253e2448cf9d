package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// chromium finds the browser; COFLUX_BROWSER names one that must be there.
func chromium(t *testing.T) string {
	t.Helper()
	if named := os.Getenv("COFLUX_BROWSER"); named != "" {
		return named
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium on the PATH and none named by COFLUX_BROWSER")
	}
	return path
}

// tab is a page in a headless browser, driven by the DevTools protocol.
type tab struct {
	t    *testing.T
	conn *websocket.Conn
	asks int
}

func openTab(t *testing.T, url string) *tab {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(chromium(t), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--user-data-dir="+dir, url)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var socket string
	await(t, patience, func() string {
		socket = pageSocket(filepath.Join(dir, "DevToolsActivePort"), url)
		if socket == "" {
			return "the browser has not opened the page"
		}
		return ""
	})
	conn, _, err := websocket.Dial(t.Context(), socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &tab{t: t, conn: conn}
}

// pageSocket asks the browser where its page is driven; "" while it is not there yet.
func pageSocket(portFile, url string) string {
	content, err := os.ReadFile(portFile)
	if err != nil {
		return ""
	}
	port, _, _ := strings.Cut(string(content), "\n")
	resp, err := http.Get("http://127.0.0.1:" + port + "/json/list")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var pages []struct{ Type, URL, WebSocketDebuggerURL string }
	if json.NewDecoder(resp.Body).Decode(&pages) != nil {
		return ""
	}
	for _, p := range pages {
		if p.Type == "page" && strings.HasPrefix(p.URL, url) {
			return p.WebSocketDebuggerURL
		}
	}
	return ""
}

// eval runs an expression in the page and gives the text that it yields.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	b.asks++
	ask := map[string]any{"id": b.asks, "method": "Runtime.evaluate", "params": map[string]any{"expression": expression}}
	if err := wsjson.Write(ctx, b.conn, ask); err != nil {
		b.t.Fatal(err)
	}
	for {
		var answer struct {
			ID     int
			Result struct {
				Result           struct{ Value any }
				ExceptionDetails any
			}
		}
		if err := wsjson.Read(ctx, b.conn, &answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID != b.asks {
			continue
		}
		if answer.Result.ExceptionDetails != nil {
			b.t.Fatalf("%s: %v", expression, answer.Result.ExceptionDetails)
		}
		return fmt.Sprint(answer.Result.Result.Value)
	}
}

// shows waits until the page shows all of the texts; the details of steps are opened for it.
func (b *tab) shows(texts ...string) {
	b.t.Helper()
	await(b.t, patience, func() string {
		page := b.eval(`document.querySelector("button.step[aria-expanded=false]")?.click(); document.body ? document.body.innerText : ""`)
		for _, text := range texts {
			if !strings.Contains(page, text) {
				return fmt.Sprintf("%q is not shown on\n%s", text, page)
			}
		}
		return ""
	})
}

func TestPageInABrowser(t *testing.T) {
	slow(t)
	t.Parallel()
	chromium(t)
	m := newMesh(t)
	m.write("questions.py", questions)
	m.write("keeping.py", keeping)
	n := m.add("--repo", "flows", "--repo", "questions", "--repo", "keeping")
	m.ready()
	run := n.said("^R", "submit", "flows/hello", `"<b>Joe</b>"`)
	page := openTab(t, "http://"+n.host()+"/")
	page.shows(run, "flows", "completed")
	page.eval(`location.hash = "#/nodes"`)
	page.shows(n.name, "leader", "alive")
	page.eval(`location.hash = "#/run/` + run + `"`)
	page.shows("hello", "Hello, <b>Joe</b>!")
	page.eval(`location.hash = "#/submit/flows/hello"`)
	await(t, patience, func() string {
		if page.eval(`document.getElementById("workflow")?.selectedOptions[0]?.text`) != "flows/hello" {
			return "the form is not there"
		}
		return ""
	})
	page.eval(`document.getElementById("argument-0").value = '"Eve"'; document.querySelector("form button").click()`)
	page.shows("Hello, Eve!")
	page.answers(n)
	page.lists(n)
}

// lists has the page list the files of assets, and follow a link to one.
func (b *tab) lists(n *node) {
	b.t.Helper()
	run := n.said("^R", "submit", "keeping/pass_on", "3", `"<i>n</i>"`)
	b.eval(`location.hash = "#/run/` + run + `"`)
	b.shows(`<asset "again" (5 files, `, `"<i>n</i>" (3 files, `)
	await(b.t, patience, func() string {
		if b.eval(`document.querySelector("button.step[aria-expanded=false]")?.click(); document.querySelectorAll("[data-asset] button:enabled").forEach((x) => x.click()); document.querySelectorAll("[data-asset]").length`) != "2" {
			return "the assets are not there"
		}
		return ""
	})
	b.shows("d1/f1.txt", "all/d2/f2.txt", "11 bytes")
	b.eval(`fetch(document.querySelector("[data-asset] li a").href).then((r) => r.text()).then((text) => { document.title = text; })`)
	await(b.t, patience, func() string {
		if title := b.eval("document.title"); !strings.Contains(title, "<i>n</i> 0") {
			return "the link leads to " + title
		}
		return ""
	})
}

// answers has the page answer what a run asks, and dismiss what another one does.
func (b *tab) answers(n *node) {
	b.t.Helper()
	ask := func() string {
		return document[struct{ RunID string }](n, "submit", "questions/order", `"<i>Joe</i>"`, "--no-wait").RunID
	}
	first := ask()
	b.eval(`location.hash = "#/run/` + first + `"`)
	b.shows("1 open question")
	b.eval(`document.querySelector("main a[href='#/inputs']").click()`)
	b.shows("An order of <i>Joe</i>", first+"/i1")
	form := `document.querySelector("form[data-input='` + first + `/i1']")`
	b.eval(form + `.querySelector("input").value = "x"; ` + form + `.querySelector("button").click()`)
	b.shows("is not a number")
	b.eval(form + `.querySelector("input").value = "12345678901234567890"; ` + form + `.querySelector("button").click()`)
	b.shows("No run waits for an answer")
	if got := compact(n.m.value(n, first)); got != `{"type":"dict","items":["a",12345678901234567890]}` {
		b.t.Errorf("the answer is %s", got)
	}
	second := ask()
	b.shows(second + "/i1")
	b.eval(`document.querySelector("form[data-input='` + second + `/i1'] button[type=button]").click()`)
	b.shows("No run waits for an answer")
	n.said(`Status: dismissed`, "inputs", "inspect", second+"/i1")
}
