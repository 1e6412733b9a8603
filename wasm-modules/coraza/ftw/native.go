package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"aegis-coraza/rules"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
)

// native is Coraza itself with the same rules, and without any code of this proxy: not even the package of the module,
// which gives Coraza another reader of multipart bodies.
type native struct{ waf coraza.WAF }

func newNative() (*native, error) {
	c := coraza.NewWAFConfig().WithRootFS(rules.FS{})
	for _, d := range append(rules.Default(), "SecRuleEngine On", "SecAuditEngine Off") {
		c = c.WithDirectives(d)
	}
	w, err := coraza.NewWAF(c)
	return &native{w}, err
}

// judge says which rules that log match, without those which only add scores up.
func (n *native) judge(raw []byte) ([]int, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	tx := n.waf.NewTransaction()
	defer tx.Close()
	tx.ProcessConnection("127.0.0.1", 12345, "127.0.0.1", 80)
	tx.ProcessURI(r.RequestURI, r.Method, r.Proto)
	for _, field := range fieldsOf(raw) {
		tx.AddRequestHeader(field[0], field[1])
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	tx.SetServerName(host)
	if tx.ProcessRequestHeaders() == nil {
		if _, _, err := tx.WriteRequestBody(body); err != nil {
			return nil, err
		}
		if _, err := tx.ProcessRequestBody(); err != nil {
			return nil, fmt.Errorf("request body: %w", err)
		}
	}
	found := []int{}
	for _, m := range tx.MatchedRules() {
		if tells(m) {
			found = append(found, m.Rule().ID())
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

func tells(m types.MatchedRule) bool {
	l, ok := m.(interface{ Log() bool })
	id := m.Rule().ID()
	return ok && l.Log() && id/1000 != 949 && id/1000 != 959
}

// fieldsOf are a request's fields in the order, the case and the number they are sent in.
func fieldsOf(raw []byte) [][2]string {
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	var fields [][2]string
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ":")
		fields = append(fields, [2]string{name, strings.TrimSpace(value)})
	}
	return fields
}
