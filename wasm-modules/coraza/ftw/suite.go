package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	schema "github.com/coreruleset/ftw-tests-schema/v2/types"
	overrides "github.com/coreruleset/ftw-tests-schema/v2/types/overrides"
	"github.com/coreruleset/go-ftw/v2/config"
	"github.com/coreruleset/go-ftw/v2/ftwhttp"
	"github.com/coreruleset/go-ftw/v2/output"
	"github.com/coreruleset/go-ftw/v2/runner"
	"github.com/coreruleset/go-ftw/v2/test"
	"github.com/coreruleset/go-ftw/v2/waflog"
	"github.com/goccy/go-yaml"
	"github.com/rs/zerolog"
)

//go:embed expectations.yaml
var expectationsFile []byte

//go:embed ignored.yaml
var ignoredFile []byte

// suite is what is run, and what is known of single tests.
type suite struct {
	tests []schema.Test
	// expected is what tests give here instead of what the suite says, by rule.
	expected map[uint][]*overrides.TestOverride
	// ignored says why a test is not run.
	ignored map[string]string
}

// ignored is an entry of ignored.yaml.
type ignored struct {
	Tests  []string `yaml:"tests"`
	Reason string   `yaml:"reason"`
}

func readSuite() (*suite, error) {
	s := &suite{expected: map[uint][]*overrides.TestOverride{}, ignored: map[string]string{}}
	var expectations overrides.FTWOverrides
	if err := strictly(expectationsFile, &expectations); err != nil {
		return nil, fmt.Errorf("expectations.yaml: %w", err)
	}
	for i := range expectations.TestOverrides {
		one := &expectations.TestOverrides[i]
		s.expected[one.RuleId] = append(s.expected[one.RuleId], one)
	}
	var entries []ignored
	if err := strictly(ignoredFile, &entries); err != nil {
		return nil, fmt.Errorf("ignored.yaml: %w", err)
	}
	for _, entry := range entries {
		for _, name := range entry.Tests {
			s.ignored[name] = entry.Reason
		}
	}
	err := fs.WalkDir(crstests.FS, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(file) != ".yaml" {
			return err
		}
		data, err := fs.ReadFile(crstests.FS, file)
		if err != nil {
			return err
		}
		one, err := test.GetTestFromYaml(data, path.Base(file))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		s.tests = append(s.tests, one.Tests...)
		return nil
	})
	return s, err
}

func strictly(data []byte, into any) error {
	return yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(into)
}

// isSpecial says whether a test has an expectation of its own, or is ignored.
func (s *suite) isSpecial(rule, id uint) bool {
	_, left := s.ignored[fmt.Sprintf("%d-%d", rule, id)]
	return left || s.override(rule, id) != nil
}

func (s *suite) override(rule, id uint) *overrides.TestOverride {
	for _, one := range s.expected[rule] {
		if slices.Contains(one.TestIds, id) {
			return one
		}
	}
	return nil
}

// sent is what came of sending the tests.
type sent struct {
	// spans are the tests in the order they were sent.
	spans []span
	// failed says why, by test; it is empty for one that passed.
	failed map[string]string
	// matched are the rules of each stage.
	matched map[string][][]uint
}

// outcome counts tests.
type outcome struct {
	passed, ignored int
	failed          []string
}

// send runs every test. go-ftw itself ends a run at the first connection that is closed without an answer, and of a test
// with several stages it takes the last one's word: so the stages are driven here.
func (s *suite) send(n *node, show bool) (*sent, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	c := config.NewDefaultConfig()
	c.LogFile = n.events
	// The event log is written a moment after the answer; until then the marker is sent again.
	c.MaxMarkerRetries = 200
	host := "127.0.0.1"
	c.TestOverride.Overrides.DestAddr = &host
	c.TestOverride.Overrides.Port = &n.port
	rc := config.NewRunnerConfiguration(c)
	rc.ReadTimeout = 20 * time.Second

	log, err := waflog.NewFTWLogLines(rc)
	if err != nil {
		return nil, err
	}
	client, err := ftwhttp.NewClient(rc)
	if err != nil {
		return nil, err
	}
	context := &runner.TestRunContext{
		RunnerConfig: rc, Output: output.NewOutput("quiet", os.Stderr), ShowOnlyFailed: true,
		Stats: runner.NewRunStats(), Client: client, LogLines: log,
	}
	result := &sent{failed: map[string]string{}, matched: context.Stats.TriggeredRules}
	for i := range s.tests {
		one := &s.tests[i]
		name := one.IdString()
		if _, left := s.ignored[name]; left {
			continue
		}
		result.spans = append(result.spans, span{name, time.Now()})
		result.failed[name] = s.test(context, one)
		if show {
			fmt.Fprintln(os.Stderr, name, result.matched[name])
		}
		if !n.isAlive() {
			return nil, fmt.Errorf("aegis ended at %s:\n%s", name, n.said())
		}
	}
	return result, log.Cleanup()
}

// judge counts what passed. A test that wants no rule to match would pass without any having looked, so the access log is
// asked whether its requests came so far.
func (s *suite) judge(n *node, result *sent) (*outcome, error) {
	answers, err := n.answers(result.spans)
	if err != nil {
		return nil, err
	}
	out := &outcome{ignored: len(s.tests) - len(result.spans)}
	for i := range s.tests {
		one := &s.tests[i]
		name := one.IdString()
		failed, ran := result.failed[name]
		if !ran {
			continue
		}
		if failed == "" && !wantsStatus(one) && seen(answers[name]) < len(one.Stages) {
			failed = "no rule saw it"
		}
		if failed == "" {
			out.passed++
		} else {
			out.failed = append(out.failed, fmt.Sprintf("%s: %s; answered %v", name, failed, answers[name]))
		}
	}
	return out, nil
}

// wantsStatus says whether a test, with the expectation it has here, says what is answered.
func wantsStatus(one *schema.Test) bool {
	return slices.ContainsFunc(one.Stages, func(stage schema.Stage) bool { return stage.Output.Status != 0 })
}

// test runs all stages of a test, twice if it may be run again; the answer says what failed. A target that is refused for
// bytes no URI has is sent once more with these encoded, for the rules must find the same in it.
func (s *suite) test(context *runner.TestRunContext, one *schema.Test) string {
	again := false
	for i := range one.Stages {
		stage := one.Stages[i]
		if o := s.override(one.RuleId, one.TestId); o != nil {
			again = o.RetryOnce != nil && *o.RetryOnce
			target := stage.Input.URI
			if encoded := unwise.Replace(*target); o.Output.Status == http.StatusBadRequest && encoded != *target {
				stage.Input.URI = &encoded
				if why := s.stage(context, one, stage); why != "" {
					return "encoded as " + encoded + " " + why
				}
				stage.Input.URI = target
			}
			one.Stages[i].Output = o.Output
			stage.Output = o.Output
		}
		retry := again || stage.Output.RetryOnce != nil && *stage.Output.RetryOnce
		stage.Output.RetryOnce = nil
		why := s.stage(context, one, stage)
		if why != "" && retry {
			why = s.stage(context, one, stage)
		}
		if why != "" {
			return fmt.Sprintf("stage %d of %d %s", i+1, len(one.Stages), why)
		}
	}
	return ""
}

// unwise are the bytes for which the door refuses a target, as far as the suite sends them.
var unwise = strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E")

func (s *suite) stage(context *runner.TestRunContext, one *schema.Test, stage schema.Stage) string {
	check, err := runner.NewCheck(context)
	if err != nil {
		return err.Error()
	}
	if err := runner.RunStage(context, check, *one, stage); err != nil {
		return err.Error()
	}
	if context.Result == runner.Success {
		return ""
	}
	want := stage.Output
	matched := check.GetTriggeredRules()
	return fmt.Sprintf("matched %v; wanted ids %v, not %v, status %d, text %q, not %q", matched,
		want.Log.ExpectIds, want.Log.NoExpectIds, want.Status, want.Log.MatchRegex, want.Log.NoMatchRegex)
}
