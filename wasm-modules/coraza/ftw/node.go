package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	suiterules "aegis-coraza/suite"

	"github.com/coreruleset/albedo/server"
)

// readyMax is enough to compile the WAF's module for the first time on a busy machine.
const readyMax = 5 * time.Minute

// markerRule writes go-ftw's marks into the log, and runs no other rule for them.
const markerRule = 999999

const marker = `
SecRule REQUEST_HEADERS:X-CRS-Test "@rx ^.*$" "id:999999,phase:1,pass,t:none,log,msg:'X-CRS-Test',ctl:ruleRemoveById=1-999998"
`

// methods are those the suite uses beside the registered ones; the door lets tokens pass, a site what it lists.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TEST", "REALLYLONGUNREALMETHOD", "FOO", "|GET", "SUBSCRIBE", "PROPFIND"}

// startOrigin runs albedo, which answers what a test tells it to; its answers are text if nothing else is said.
func startOrigin() (string, error) {
	slog.SetLogLoggerLevel(slog.LevelError)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	albedo := server.Handler()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		// Albedo's own routes would redirect targets that are not in their simplest form.
		albedo.ServeHTTP(w, r)
	})
	go func() { _ = http.Serve(listener, handler) }()
	return "http://" + listener.Addr().String(), nil
}

// node is a running aegis.
type node struct {
	command   *exec.Cmd
	dir       string
	port, tls int
	events    string
	access    string
	output    *tail
	ended     chan struct{}
}

// site is what the one site of a node has of its own.
type site struct {
	waf   map[string]any
	files map[string]string
	// more are other sites of the node.
	more    []any
	methods []string
}

func (s *site) file(name, text string) { s.files[name] = text }

// suiteSite is what the suite wants: paranoia 4, responses judged, nothing refused.
func suiteSite() site {
	return site{
		waf: map[string]any{
			"mode": "detect", "paranoia": 4, "inspect_response": "body", "seclang_before": []string{"suite.conf"},
		},
		files:   map[string]string{"suite.conf": suiterules.SecLang + marker},
		methods: methods,
	}
}

func (o *options) start(origin string, s site) (*node, error) {
	dir, err := os.MkdirTemp("", "aegis-ftw-")
	if err != nil {
		return nil, err
	}
	n := &node{
		dir: dir, events: filepath.Join(dir, "events.log"), access: filepath.Join(dir, "access.log"),
		output: &tail{}, ended: make(chan struct{}),
	}
	state := o.state
	if state == "" {
		state = filepath.Join(dir, "state")
	}
	if n.port, err = freePort(); err != nil {
		return nil, err
	}
	if n.tls, err = freePort(); err != nil {
		return nil, err
	}
	settings, err := json.MarshalIndent(n.settings(state, origin, s), "", " ")
	if err != nil {
		return nil, err
	}
	s.file("aegis.yaml", string(settings))
	for name, text := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	n.command = exec.Command(o.binary, "run", "-c", filepath.Join(dir, "aegis.yaml"))
	n.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := n.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	n.command.Stderr = n.command.Stdout
	if err := n.command.Start(); err != nil {
		return nil, fmt.Errorf("starting aegis: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		for told := false; lines.Scan(); {
			n.output.add(lines.Text())
			if !told && strings.HasPrefix(lines.Text(), "ready in") {
				told = true
				close(ready)
			}
		}
		_ = n.command.Wait()
		close(n.ended)
	}()
	select {
	case <-ready:
		return n, nil
	case <-n.ended:
	case <-time.After(readyMax):
	}
	n.stop()
	return nil, fmt.Errorf("aegis did not get ready:\n%s", n.said())
}

// settings are plain ones, as an operator could write them.
func (n *node) settings(state, origin string, s site) map[string]any {
	return map[string]any{
		"version": 1,
		"node": map[string]any{
			"state_dir": state,
			"admin":     map[string]any{"socket": filepath.Join(n.dir, "admin.sock"), "metrics": "127.0.0.1:0"},
			// A machine that has other things to do must not make a request pass unjudged.
			"plugins": map[string]any{"wait_max": "10s"},
			"log":     map[string]any{"access": "json", "access_path": n.access, "events_path": n.events, "level": "warn"},
		},
		"listeners": []any{
			map[string]any{"address": fmt.Sprintf("127.0.0.1:%d", n.port)},
			map[string]any{"address": fmt.Sprintf("127.0.0.1:%d", n.tls), "tls": map[string]any{}},
		},
		"sites": append([]any{map[string]any{
			"hosts": []string{"*"}, "origin": origin, "methods": s.methods,
			"cache": map[string]any{"enabled": false}, "waf": s.waf,
		}}, s.more...),
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (n *node) isAlive() bool {
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

func (n *node) said() string { return n.output.String() }

func (n *node) stop() {
	_ = n.command.Process.Kill()
	<-n.ended
	_ = os.RemoveAll(n.dir)
}

// tail keeps the last lines of a process.
type tail struct {
	sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.Lock()
	defer t.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > 50 {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.Lock()
	defer t.Unlock()
	return strings.Join(t.lines, "\n")
}
