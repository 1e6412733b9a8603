package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// lingerMax is longer than lines of the access log wait for company.
const lingerMax = 300 * time.Millisecond

// markerAgent is what go-ftw calls itself when it marks the log.
const markerAgent = "go-ftw test agent"

// span is when a test was run.
type span struct {
	name  string
	begun time.Time
}

// line is what is wanted of a line of the access log.
type line struct {
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"`
	Status    int       `json:"status"`
	Error     string    `json:"error"`
	UserAgent string    `json:"user_agent"`
	// WAF is "fault" for a request that passed without a verdict, as it may where attacks are only written down.
	WAF string `json:"waf"`
}

func (l line) String() string {
	if l.Error == "" {
		return fmt.Sprintf("%d (waf: %s)", l.Status, l.WAF)
	}
	return fmt.Sprintf("%d (%s)", l.Status, l.Error)
}

// seen counts the requests that were not refused before any rule saw them.
func seen(lines []line) int {
	n := 0
	for _, l := range lines {
		if l.Kind != "refused" && l.Error == "" && l.WAF != "fault" {
			n++
		}
	}
	return n
}

// answers reads what each test was answered, by the times of the access log's lines: tests run one after the other.
func (n *node) answers(spans []span) (map[string][]line, error) {
	time.Sleep(lingerMax)
	file, err := os.Open(n.access)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	answers := map[string][]line{}
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for at := 0; scanner.Scan(); {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("access log: %w", err)
		}
		if l.UserAgent == markerAgent {
			continue
		}
		// A test sends nothing of its own before its first marker was answered, nor after its last.
		for at+1 < len(spans) && !l.Time.Before(spans[at+1].begun.Truncate(time.Millisecond)) {
			at++
		}
		answers[spans[at].name] = append(answers[spans[at].name], l)
	}
	return answers, scanner.Err()
}
