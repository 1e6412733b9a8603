package waf

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"aegis-coraza/rules"
	"aegis-coraza/suite"
)

// run judges one stage and returns the ids that matched.
func run(e *Engine, p *Policy, in *suite.Stage) ([]int, error) {
	h := &Head{ID: in.Name, Method: in.Method, Target: in.Target, Protocol: in.Protocol, Headers: in.Headers,
		Source: netip.MustParseAddrPort("127.0.0.1:12345"), Destination: netip.MustParseAddrPort("127.0.0.1:80")}
	s, _, err := e.Begin(h, p)
	if err != nil {
		return nil, err
	}
	if in.Body == "" {
		_, err = s.NoRequestBody()
	} else {
		_, err = s.RequestBody(strings.NewReader(in.Body), int64(len(in.Body)))
	}
	if err != nil {
		return nil, err
	}
	r := in.Response
	_, more, err := s.ResponseHeaders(r.Status, "HTTP/1.1", r.Headers, r.Body == "")
	if err == nil && more {
		_, _, err = s.ResponseBody(strings.NewReader(r.Body), true)
	}
	if err != nil {
		return nil, err
	}
	s.tx.ProcessLogging()
	var ids []int
	for _, m := range s.tx.MatchedRules() {
		ids = append(ids, m.Rule().ID())
	}
	slices.Sort(ids)
	return ids, s.drop()
}

// suiteEngine compiles the default directives with what the suite sets.
func suiteEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := NewEngine(&Config{Directives: suite.Directives(rules.Default())})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The Core Rule Set's own regression suite, through a Session: every stage must log the ids it expects and none of those
// it must not.
func TestTheCoreRuleSetPassesItsOwnSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("some 4,600 requests at paranoia 4")
	}
	e := suiteEngine(t)
	p := policy(t, `{"mode":"detect","paranoia":4,"response":"body"}`)
	stages, err := suite.Stages()
	if err != nil {
		t.Fatal(err)
	}
	for i := range stages {
		stage := &stages[i]
		ids, err := run(e, p, stage)
		if err != nil {
			t.Errorf("%s: %v", stage.Name, err)
			continue
		}
		for _, id := range stage.Expect {
			if !slices.Contains(ids, id) {
				t.Errorf("%s: %d did not match", stage.Name, id)
			}
		}
		for _, id := range stage.NoExpect {
			if slices.Contains(ids, id) {
				t.Errorf("%s: %d matched", stage.Name, id)
			}
		}
	}
	if len(stages) < 4500 {
		t.Errorf("only %d stages", len(stages))
	}
}
