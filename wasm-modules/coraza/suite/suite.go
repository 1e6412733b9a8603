// Package suite reads the Core Rule Set's own regression suite: every stage is a request, what the origin answers, and which
// rules must match and which must not.
package suite

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"github.com/goccy/go-yaml"
)

// SecLang is what the suite sets for every stage, before the setup of the rules. It wants paranoia 4, and nothing blocked.
const SecLang = `
SecResponseBodyMimeType text/plain
SecDefaultAction "phase:5,log,auditlog,pass"
SecAction "id:900005,phase:1,nolog,pass,ctl:ruleRemoveById=910000,setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,setvar:tx.combined_file_sizes=65535"
`

// Stages that tell what an HTTP/1 server keeps from the rules (a request with both Content-Length and Transfer-Encoding,
// a body without either, a bare CR in a field, a request line without version), which here is the business of whoever
// calls.
var ignored = regexp.MustCompile(`^(920181-1|920430-5|920640-5|921140-1)$`)

// Stage is one request and its response.
type Stage struct {
	Name     string
	Method   string
	Target   string
	Protocol string
	Headers  [][2]string
	Body     string
	Response Response
	// Expect are the rules that must match, and NoExpect those that must not.
	Expect, NoExpect []int
}

// Response is what the suite's origin answers.
type Response struct {
	Status  int
	Headers [][2]string
	Body    string
}

// Directives puts SecLang where it belongs among the default ones.
func Directives(defaults []string) []string {
	at := slices.Index(defaults, "Include @crs-setup.conf.example")
	return slices.Insert(slices.Clone(defaults), at, SecLang)
}

type file struct {
	RuleID int `yaml:"rule_id"`
	Tests  []struct {
		ID     int `yaml:"test_id"`
		Stages []struct {
			Input  input `yaml:"input"`
			Output struct {
				Log struct {
					Expect   []int `yaml:"expect_ids"`
					NoExpect []int `yaml:"no_expect_ids"`
				} `yaml:"log"`
			} `yaml:"output"`
		} `yaml:"stages"`
	} `yaml:"tests"`
}

type input struct {
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

// Stages reads all stages that can be told without a connection.
func Stages() ([]Stage, error) {
	var stages []Stage
	err := fs.WalkDir(crstests.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(crstests.FS, path)
		if err != nil {
			return err
		}
		var f file
		if err := yaml.Unmarshal(data, &f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, test := range f.Tests {
			name := fmt.Sprintf("%d-%d", f.RuleID, test.ID)
			for i := range test.Stages {
				stage := &test.Stages[i]
				if stage.Input.Encoded == "" && !ignored.MatchString(name) {
					s := stage.Input.stage(name)
					s.Expect, s.NoExpect = stage.Output.Log.Expect, stage.Output.Log.NoExpect
					stages = append(stages, s)
				}
			}
		}
		return nil
	})
	return stages, err
}

func (in *input) stage(name string) Stage {
	s := Stage{Name: name, Method: in.Method, Target: in.URI, Protocol: "HTTP/1.1", Body: in.Data, Response: in.response()}
	if s.Method == "" {
		s.Method = "GET"
	}
	if s.Target == "" {
		s.Target = "/"
	}
	if in.Version != "" {
		s.Protocol = in.Version
	}
	has := map[string]bool{}
	add := func(name, value string) {
		has[strings.ToLower(name)] = true
		s.Headers = append(s.Headers, [2]string{name, value})
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
	return s
}

// response is what the suite's origin answers: below /reflect, what the body says.
func (in *input) response() Response {
	r := Response{Status: 200}
	var reflect struct {
		Status      int               `json:"status"`
		Headers     map[string]string `json:"headers"`
		Body        string            `json:"body"`
		EncodedBody string            `json:"encodedBody"`
	}
	if strings.HasSuffix(in.URI, "/reflect") && json.Unmarshal([]byte(in.Data), &reflect) == nil {
		r.Status, r.Body = max(reflect.Status, 100), reflect.Body
		if raw, err := base64.StdEncoding.DecodeString(reflect.EncodedBody); err == nil && r.Body == "" {
			r.Body = string(raw)
		}
		for name, value := range reflect.Headers {
			r.Headers = append(r.Headers, [2]string{name, value})
		}
	}
	if !slices.ContainsFunc(r.Headers, func(h [2]string) bool { return strings.EqualFold(h[0], "content-type") }) {
		r.Headers = append(r.Headers, [2]string{"Content-Type", "text/plain"})
	}
	return r
}
