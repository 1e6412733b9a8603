package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"aegis-coraza/rules"
	"aegis-coraza/suite"
	"aegis-coraza/waf"
)

const suitePolicy = `{"mode":"detect","paranoia":4,"response":"body"}`

// setup is the first line: how to configure the module.
type setup struct {
	Config json.RawMessage `json:"config"`
	Policy json.RawMessage `json:"policy"`
}

type stage struct {
	Name            string            `json:"name"`
	Method          hexed             `json:"method"`
	Target          hexed             `json:"target"`
	Protocol        hexed             `json:"protocol"`
	Headers         [][2]hexed        `json:"headers"`
	Body            hexed             `json:"body"`
	Status          int               `json:"status"`
	ResponseHeaders [][2]hexed        `json:"response_headers"`
	ResponseBody    hexed             `json:"response_body"`
	Events          []json.RawMessage `json:"events"`
}

func writeSuite(write func(any) error) error {
	config := &waf.Config{Directives: suite.Directives(rules.Default())}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if err := write(setup{Config: text, Policy: json.RawMessage(suitePolicy)}); err != nil {
		return err
	}
	engine, err := waf.NewEngine(config)
	if err != nil {
		return err
	}
	policy, err := waf.ParsePolicy([]byte(suitePolicy))
	if err != nil {
		return err
	}
	stages, err := suite.Stages()
	if err != nil {
		return err
	}
	for i := range stages {
		in := &stages[i]
		events, err := judge(engine, policy, in)
		if err != nil {
			return fmt.Errorf("%s: %w", in.Name, err)
		}
		out := stage{
			Name: in.Name, Method: hexed(in.Method), Target: hexed(in.Target), Protocol: hexed(in.Protocol),
			Headers: hexedPairs(in.Headers), Body: hexed(in.Body),
			Status: in.Response.Status, ResponseHeaders: hexedPairs(in.Response.Headers), ResponseBody: hexed(in.Response.Body),
			Events: events,
		}
		if err := write(out); err != nil {
			return err
		}
	}
	return nil
}

// judge is what the module does with a request and its response.
func judge(engine *waf.Engine, policy *waf.Policy, in *suite.Stage) ([]json.RawMessage, error) {
	events := []json.RawMessage{}
	told := func(v waf.Verdict) {
		if v.Event != nil {
			events = append(events, v.Event)
		}
	}
	head := &waf.Head{ID: in.Name, Method: in.Method, Target: in.Target, Protocol: in.Protocol, Headers: in.Headers,
		Source: netip.MustParseAddrPort("127.0.0.1:12345"), Destination: netip.MustParseAddrPort("127.0.0.1:80")}
	session, v, err := engine.Begin(head, policy)
	if err != nil {
		return nil, err
	}
	told(v)
	if in.Body == "" {
		v, err = session.NoRequestBody()
	} else {
		v, err = session.RequestBody(strings.NewReader(in.Body), int64(len(in.Body)))
	}
	if err != nil {
		return nil, err
	}
	told(v)
	r := in.Response
	v, more, err := session.ResponseHeaders(r.Status, in.Protocol, r.Headers, r.Body == "")
	if err != nil {
		return nil, err
	}
	told(v)
	if more {
		if v, _, err = session.ResponseBody(strings.NewReader(r.Body), true); err != nil {
			return nil, err
		}
		told(v)
	}
	// What the logging phase says comes after the verdicts, which are what is compared here.
	_, err = session.End()
	return events, err
}
