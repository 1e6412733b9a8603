package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A way people try to get an attack past a WAF, and what must come of it here, at the default settings (block, paranoia 1)
// unless the row has a site of its own.
type row struct {
	name string
	// host chooses the site; "" is the one with default settings.
	host string
	// request is what is sent, byte for byte.
	request []byte
	// h2 is sent by HTTP/2 over TLS instead.
	h2 *http.Request
	// status is the answer.
	status int
	// rule is one that must have matched; 0: none that logs may have.
	rule int
	// alone rows are not asked of native Coraza: what decides is the proxy, or a setting that Coraza does not have.
	alone bool
	// why it passes, where it does.
	why string
}

// outcomeOf is what one row came to.
type outcomeOf struct {
	status int
	rules  []int
}

// bypasses runs the table.
func (o *options) bypasses() error {
	origin, seen, err := startRecorder()
	if err != nil {
		return err
	}
	node, err := o.start(origin, bypassSite(origin))
	if err != nil {
		return err
	}
	defer node.stop()
	native, err := newNative()
	if err != nil {
		return err
	}
	wrong, compared := []string{}, 0
	rows := table()
	for _, r := range rows {
		got, id, err := node.ask(r)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", r.name, err))
			continue
		}
		if got.rules, err = node.rulesOf(id); err != nil {
			return err
		}
		if why := r.check(got, seen.take()); why != "" {
			wrong = append(wrong, r.name+": "+why)
		}
		if r.alone || r.h2 != nil {
			continue
		}
		compared++
		want, err := native.judge(r.request)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if !slices.Equal(want, got.rules) {
			wrong = append(wrong, fmt.Sprintf("%s: matched %v, native Coraza %v", r.name, got.rules, want))
		}
	}
	for _, one := range wrong {
		fmt.Fprintln(os.Stderr, one)
	}
	fmt.Fprintf(os.Stderr, "%d rows, %d of them also natively\n", len(rows), compared)
	fmt.Printf("RESULT waf bypass_rows_wrong %d rows\n", len(wrong))
	if len(wrong) > 0 {
		return fmt.Errorf("%d rows of the table of bypasses are wrong", len(wrong))
	}
	return nil
}

// check says what is wrong.
func (r *row) check(got outcomeOf, body []byte) string {
	switch {
	case got.status != r.status:
		return fmt.Sprintf("answered %d, not %d; matched %v", got.status, r.status, got.rules)
	case r.rule != 0 && !slices.Contains(got.rules, r.rule):
		return fmt.Sprintf("matched %v, not %d", got.rules, r.rule)
	case r.rule == 0 && len(got.rules) > 0:
		return fmt.Sprintf("matched %v", got.rules)
	case (r.status == 200) == (body == nil):
		return fmt.Sprintf("answered %d, and the origin saw %q", got.status, body)
	case r.status == 200 && r.rule == 0 && r.why == "":
		return "it passes, and the table does not say why that is right"
	}
	return ""
}

// ask sends the row's request and returns what was answered.
func (n *node) ask(r row) (outcomeOf, string, error) {
	if r.h2 != nil {
		return n.askByH2(r.h2)
	}
	client, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
	if err != nil {
		return outcomeOf{}, "", err
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return outcomeOf{}, "", err
	}
	if _, err := client.Write(r.request); err != nil {
		return outcomeOf{}, "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		return outcomeOf{}, "", fmt.Errorf("no answer: %w", err)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return outcomeOf{status: answer.StatusCode}, answer.Header.Get("X-Request-Id"), err
}

func (n *node) askByH2(request *http.Request) (outcomeOf, string, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} // #nosec: its own certificate
	defer transport.CloseIdleConnections()
	request.URL.Scheme, request.URL.Host = "https", fmt.Sprintf("127.0.0.1:%d", n.tls)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return outcomeOf{}, "", err
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 {
		return outcomeOf{}, "", fmt.Errorf("answered by %s", answer.Proto)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return outcomeOf{status: answer.StatusCode}, answer.Header.Get("X-Request-Id"), err
}

// rulesOf reads which rules matched in a request from the event log, where they stand when the answer has come; the log's
// writer may be a moment behind, so a request without any is waited for through a later one that has some.
func (n *node) rulesOf(id string) ([]int, error) {
	if id == "" {
		return nil, nil
	}
	after, until := "", time.Now().Add(10*time.Second)
	for {
		data, err := os.ReadFile(n.events)
		if err != nil {
			return nil, err
		}
		rules, isThere := []int{}, false
		for _, text := range bytes.Split(data, []byte("\n")) {
			var event struct {
				ID    string `json:"request_id"`
				Rules []struct {
					ID int `json:"id"`
				} `json:"rules"`
			}
			if json.Unmarshal(text, &event) != nil {
				continue
			}
			isThere = isThere || event.ID == after
			if event.ID == id {
				for _, rule := range event.Rules {
					rules = append(rules, rule.ID)
				}
			}
		}
		if isThere {
			slices.Sort(rules)
			return slices.Compact(rules), nil
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("the event log stands still")
		}
		if after == "" {
			_, after, err = n.ask(row{request: get("/?q=" + sqliQuery)})
			if err != nil {
				return nil, err
			}
		}
	}
}

// recorder is an origin that keeps the last body it saw, nil if none came.
type recorder struct {
	sync.Mutex
	body []byte
}

func (r *recorder) take() []byte {
	r.Lock()
	defer r.Unlock()
	body := r.body
	r.body = nil
	return body
}

func startRecorder() (string, *recorder, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	seen := &recorder{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		seen.Lock()
		seen.body = append([]byte{}, body...)
		seen.Unlock()
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "hello")
	})
	go func() { _ = http.Serve(listener, handler) }()
	return "http://" + listener.Addr().String(), seen, nil
}

// unzip is the host of the site that reads compressed bodies.
const unzip = "unzip.test"

func bypassSite(origin string) site {
	return site{
		waf:   map[string]any{},
		files: map[string]string{},
		more: []any{map[string]any{
			"hosts": []string{unzip}, "origin": origin, "waf": map[string]any{"compressed": "decompress"},
		}},
		methods: []string{"GET", "HEAD", "POST", "PUT"},
	}
}

// request writes a request by HTTP/1.1.
func request(method, target string, fields []string, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	all := append([]string{"User-Agent: Mozilla/5.0", "Accept: */*"}, fields...)
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(field string) bool {
			return strings.HasPrefix(strings.ToLower(field), strings.ToLower(name)+":")
		})
	}
	if !has("Host") {
		all = append([]string{"Host: shop.test"}, all...)
	}
	if body != "" && !has("Content-Length") && !has("Transfer-Encoding") {
		all = append(all, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	for _, field := range all {
		b.WriteString(field + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return []byte(b.String())
}

func get(target string, fields ...string) []byte { return request("GET", target, fields, "") }

func post(contentType, body string, fields ...string) []byte {
	if contentType != "" {
		fields = append([]string{"Content-Type: " + contentType}, fields...)
	}
	return request("POST", "/post", fields, body)
}
