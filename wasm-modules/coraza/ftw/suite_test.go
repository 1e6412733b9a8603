package main

import (
	"fmt"
	"testing"
)

func TestWhatIsKnownOfTestsIsOfTestsThereAreAndHasAReason(t *testing.T) {
	s, err := readSuite()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.tests) < passedMin {
		t.Errorf("only %d tests", len(s.tests))
	}
	there := map[string]bool{}
	for i := range s.tests {
		there[s.tests[i].IdString()] = true
	}
	special := map[string]bool{}
	check := func(name, reason string) {
		if !there[name] || special[name] || len(reason) < 20 {
			t.Errorf("%s: there is no such test, or two say what it does, or no reason is given: %q", name, reason)
		}
		special[name] = true
	}
	for rule, all := range s.expected {
		for _, one := range all {
			if len(one.TestIds) == 0 || len(one.StageIds) > 0 {
				t.Errorf("%d: an expectation is of single tests, and of all their stages", rule)
			}
			for _, id := range one.TestIds {
				check(fmt.Sprintf("%d-%d", rule, id), one.Reason)
			}
		}
	}
	for name, reason := range s.ignored {
		check(name, reason)
	}
	if len(s.ignored) > ignoredMax {
		t.Errorf("%d tests are ignored", len(s.ignored))
	}
}
