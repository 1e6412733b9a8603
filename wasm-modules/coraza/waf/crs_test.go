package waf

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/goccy/go-yaml"
)

// The Core Rule Set's own regression suite, through a Session: every stage must log the ids it expects and none of those
// it must not. What the suite sets for every stage comes as SecLang and policy: paranoia 4, detection only.
const suiteSecLang = `
SecResponseBodyMimeType text/plain
SecDefaultAction "phase:5,log,auditlog,pass"
SecAction "id:900005,phase:1,nolog,pass,ctl:ruleRemoveById=910000,setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,setvar:tx.combined_file_sizes=65535"
`

// Stages that tell what an HTTP/1 server keeps from the rules (a request with both Content-Length and Transfer-Encoding,
// a body without either, a bare CR in a field, a request line without version), which here is the business of whoever
// calls.
var suiteIgnored = regexp.MustCompile(`^(920181-1|920430-5|920640-5|921140-1)$`)

type suiteFile struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int `yaml:"test_id"`
		Stages []struct {
			Input  suiteInput `yaml:"input"`
			Output struct {
				Log struct {
					Expect   []int `yaml:"expect_ids"`
					NoExpect []int `yaml:"no_expect_ids"`
				} `yaml:"log"`
			} `yaml:"output"`
		} `yaml:"stages"`
	} `yaml:"tests"`
}

type suiteInput struct {
	Method         string        `yaml:"method"`
	URI            string        `yaml:"uri"`
	Version        string        `yaml:"version"`
	Headers        yaml.MapSlice `yaml:"headers"`
	OrderedHeaders []struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	} `yaml:"ordered_headers"`
	Data         string `yaml:"data"`
	Encoded      string `yaml:"encoded_request"`
	Autocomplete *bool  `yaml:"autocomplete_headers"`
}

func (in *suiteInput) head(id string) *Head {
	h := &Head{ID: id, Method: in.Method, Target: in.URI, Protocol: "HTTP/1.1",
		Source: netip.MustParseAddrPort("127.0.0.1:12345"), Destination: netip.MustParseAddrPort("127.0.0.1:80")}
	if h.Method == "" {
		h.Method = "GET"
	}
	if h.Target == "" {
		h.Target = "/"
	}
	if in.Version != "" {
		h.Protocol = in.Version
	}
	has := map[string]bool{}
	add := func(name, value string) {
		has[strings.ToLower(name)] = true
		h.Headers = append(h.Headers, [2]string{name, value})
	}
	for _, kv := range in.Headers {
		value := ""
		if kv.Value != nil {
			value = fmt.Sprint(kv.Value)
		}
		add(fmt.Sprint(kv.Key), value)
	}
	for _, kv := range in.OrderedHeaders {
		add(kv.Name, kv.Value)
	}
	if in.Autocomplete == nil || *in.Autocomplete {
		if in.Data != "" && !has["content-length"] {
			add("Content-Length", strconv.Itoa(len(in.Data)))
		}
		if in.Data != "" && !has["content-type"] {
			add("Content-Type", "application/x-www-form-urlencoded")
		}
		if !has["connection"] {
			add("Connection", "close")
		}
	}
	return h
}

// response is what the suite's origin answers: below /reflect, what the body says.
func (in *suiteInput) response() (status int, headers [][2]string, body string) {
	status = 200
	var reflect struct {
		Status      int               `json:"status"`
		Headers     map[string]string `json:"headers"`
		Body        string            `json:"body"`
		EncodedBody string            `json:"encodedBody"`
	}
	if strings.HasSuffix(in.URI, "/reflect") && json.Unmarshal([]byte(in.Data), &reflect) == nil {
		status, body = max(reflect.Status, 100), reflect.Body
		if raw, err := base64.StdEncoding.DecodeString(reflect.EncodedBody); err == nil && body == "" {
			body = string(raw)
		}
		for name, value := range reflect.Headers {
			headers = append(headers, [2]string{name, value})
		}
	}
	if !slices.ContainsFunc(headers, func(h [2]string) bool { return strings.EqualFold(h[0], "content-type") }) {
		headers = append(headers, [2]string{"Content-Type", "text/plain"})
	}
	return status, headers, body
}

// run judges one stage and returns the ids that matched.
func (in *suiteInput) run(e *Engine, p *Policy, id string) ([]int, error) {
	s, _, err := e.Begin(in.head(id), p)
	if err != nil {
		return nil, err
	}
	if in.Data == "" {
		_, err = s.NoRequestBody()
	} else {
		_, err = s.RequestBody(bytes.NewReader([]byte(in.Data)), int64(len(in.Data)))
	}
	if err != nil {
		return nil, err
	}
	status, headers, body := in.response()
	_, more, err := s.ResponseHeaders(status, "HTTP/1.1", headers, body == "")
	if err == nil && more {
		_, _, err = s.ResponseBody(strings.NewReader(body), true)
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
	return ids, s.End()
}

// suiteEngine compiles the default directives with what the suite sets.
func suiteEngine(t *testing.T) *Engine {
	t.Helper()
	defaults := DefaultDirectives()
	at := slices.Index(defaults, "Include @crs-setup.conf.example")
	e, err := NewEngine(&Config{Directives: slices.Insert(defaults, at, suiteSecLang)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func suite(t *testing.T, each func(name string, in *suiteInput, expect, noExpect []int)) {
	t.Helper()
	err := fs.WalkDir(crstests.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(crstests.FS, path)
		if err != nil {
			return err
		}
		var f suiteFile
		if err := yaml.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, test := range f.Tests {
			for i := range test.Stages {
				stage := &test.Stages[i]
				name := fmt.Sprintf("%d-%d", f.RuleID, test.ID)
				if stage.Input.Encoded == "" && !suiteIgnored.MatchString(name) {
					each(name, &stage.Input, stage.Output.Log.Expect, stage.Output.Log.NoExpect)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheCoreRuleSetPassesItsOwnSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("some 4,600 requests at paranoia 4")
	}
	e := suiteEngine(t)
	p := policy(t, `{"mode":"detect","paranoia":4,"response":"body"}`)
	stages := 0
	suite(t, func(name string, in *suiteInput, expect, noExpect []int) {
		stages++
		ids, err := in.run(e, p, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, id := range expect {
			if !slices.Contains(ids, id) {
				t.Errorf("%s: %d did not match", name, id)
			}
		}
		for _, id := range noExpect {
			if slices.Contains(ids, id) {
				t.Errorf("%s: %d matched", name, id)
			}
		}
	})
	if stages < 4500 {
		t.Errorf("only %d stages", stages)
	}
}
