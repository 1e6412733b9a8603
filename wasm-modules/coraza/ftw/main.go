// Command ftw runs the Core Rule Set's own regression suite through a running aegis, as clients send it: go-ftw is the
// client, albedo the origin, and which rules matched is read in aegis's event log (node.log.events_path).
//
// expectations.yaml has the tests whose outcome is another one here, ignored.yaml those that are not run, each with its
// reason. With -policies it runs tests twice instead: once with a site's settings given to the rules as data, as they
// are, and once with the same written in SecLang and compiled; the same rules have to match. With -bypass it runs a table of
// ways around a WAF, most of them also through native Coraza.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"
)

// Bars of a run of the whole suite.
const (
	passedMin  = 4600
	ignoredMax = 56
)

type options struct {
	binary, state, only string
	every               int
	policies, bypass    bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "aegis", "target/debug/aegis", "the aegis `binary`")
	flag.StringVar(&o.state, "state", "", "`folder` that keeps compiled modules from one run to the next")
	flag.IntVar(&o.every, "every", 1, "run every `n`th test, and all that have an expectation of their own")
	flag.StringVar(&o.only, "only", "", "run only tests whose id matches this `expression`, and show what they match")
	flag.BoolVar(&o.policies, "policies", false, "compare a site's settings as data with the same settings compiled")
	flag.BoolVar(&o.bypass, "bypass", false, "run the table of ways around a WAF")
	flag.Parse()
	run := o.run
	if o.bypass {
		run = o.bypasses
	}
	if o.policies {
		run = o.compare
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ftw:", err)
		os.Exit(1)
	}
}

// run asserts the suite.
func (o *options) run() error {
	begun := time.Now()
	chosen, err := o.choose()
	if err != nil {
		return err
	}
	origin, err := startOrigin()
	if err != nil {
		return err
	}
	node, err := o.start(origin, suiteSite())
	if err != nil {
		return err
	}
	defer node.stop()
	fmt.Fprintf(os.Stderr, "aegis is ready after %.1f s; %d tests\n", time.Since(begun).Seconds(), len(chosen.tests))
	result, err := chosen.send(node, o.only != "")
	if err != nil {
		return err
	}
	outcome, err := chosen.judge(node, result)
	if err != nil {
		return err
	}
	for _, failed := range outcome.failed {
		fmt.Fprintln(os.Stderr, "failed:", failed)
	}
	fmt.Fprintf(os.Stderr, "%d tests in %.1f s\n", len(chosen.tests), time.Since(begun).Seconds())
	fmt.Printf("RESULT waf suite_passed %d tests\n", outcome.passed)
	fmt.Printf("RESULT waf suite_failed %d tests\n", len(outcome.failed))
	fmt.Printf("RESULT waf suite_ignored %d tests\n", outcome.ignored)
	switch whole := o.every == 1 && o.only == ""; {
	case len(outcome.failed) > 0:
		return fmt.Errorf("%d tests failed", len(outcome.failed))
	case whole && outcome.passed < passedMin:
		return fmt.Errorf("only %d tests passed, the bar is %d", outcome.passed, passedMin)
	case outcome.ignored > ignoredMax:
		return fmt.Errorf("%d tests are ignored, the bar is %d", outcome.ignored, ignoredMax)
	}
	return nil
}

// choose reads the suite and takes what is to be run of it.
func (o *options) choose() (*suite, error) {
	all, err := readSuite()
	if err != nil {
		return nil, err
	}
	expression, err := regexp.Compile(o.only)
	if err != nil {
		return nil, err
	}
	kept := all.tests[:0]
	for n, test := range all.tests {
		id := test.IdString()
		if o.only != "" && !expression.MatchString(id) {
			continue
		}
		if n%max(o.every, 1) == 0 || all.isSpecial(test.RuleId, test.TestId) {
			kept = append(kept, test)
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("no test is called %s", o.only)
	}
	all.tests = kept
	return all, nil
}
