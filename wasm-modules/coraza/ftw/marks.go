package main

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// markHeader is what go-ftw puts a test's mark into.
const markHeader = "X-Crs-Test"

// marksWait is how long a line may take to be written; past it the test fails by what go-ftw finds.
const marksWait = 10 * time.Second

// marks keeps a mark's request at the origin until its line is in the event log. go-ftw sends a mark again that it does not
// find there at once; the line of the second would then be taken for the end of the test that follows.
type marks struct {
	sync.Mutex
	file *os.File
	rest []byte
	// mark is the newest one, of which so many requests came and so many lines were found.
	mark         string
	asked, found int
}

// follow begins with the event log of another node.
func (m *marks) follow(path string) error {
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	m.Lock()
	defer m.Unlock()
	if m.file != nil {
		_ = m.file.Close()
	}
	m.file, m.rest, m.mark = file, nil, ""
	return nil
}

// wait returns when the log has a line for each request with this mark.
func (m *marks) wait(mark string) {
	m.Lock()
	defer m.Unlock()
	if m.mark != mark {
		m.mark, m.asked, m.found = mark, 0, 0
	}
	m.asked++
	for end := time.Now().Add(marksWait); m.found < m.asked && time.Now().Before(end); {
		if !m.read() {
			time.Sleep(200 * time.Microsecond)
		}
	}
}

// read takes in what was written; false if there was nothing.
func (m *marks) read() bool {
	piece := make([]byte, 64<<10)
	n, err := m.file.Read(piece)
	if n == 0 || (err != nil && err != io.EOF) {
		return false
	}
	m.rest = append(m.rest, piece[:n]...)
	for {
		line, rest, whole := bytes.Cut(m.rest, []byte("\n"))
		if !whole {
			return true
		}
		if bytes.Contains(line, []byte(m.mark)) {
			m.found++
		}
		m.rest = rest
	}
}
