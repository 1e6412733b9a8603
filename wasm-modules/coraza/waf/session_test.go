package waf

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"aegis-coraza/rules"
)

var compiled = sync.OnceValues(func() (*Engine, error) {
	c, err := ParseConfig(nil)
	if err != nil {
		return nil, err
	}
	return NewEngine(c)
})

func engine(t *testing.T) *Engine {
	t.Helper()
	e, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func policy(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func head(method, target string, headers ...string) *Head {
	h := &Head{
		ID: "01JD8Z3V6QTESTTESTTESTTEST", Method: method, Target: target, Protocol: "HTTP/1.1",
		Source:      netip.MustParseAddrPort("203.0.113.9:40000"),
		Destination: netip.MustParseAddrPort("192.0.2.1:443"),
		Headers: [][2]string{
			{"Host", "shop.example.com"}, {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}, {"Accept", "*/*"},
		},
	}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Headers = append(h.Headers, [2]string{headers[i], headers[i+1]})
	}
	return h
}

// judge sends a request through both phases, as the module does.
func judge(t *testing.T, p *Policy, h *Head, body []byte) (Verdict, *Event) {
	t.Helper()
	return judgeWith(t, engine(t), p, h, body)
}

func judgeWith(t *testing.T, e *Engine, p *Policy, h *Head, body []byte) (Verdict, *Event) {
	t.Helper()
	if body != nil {
		h.Headers = append(h.Headers, [2]string{"Content-Length", strconv.Itoa(len(body))})
	}
	s, v, err := e.Begin(h, p)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.drop(); err != nil {
			t.Error(err)
		}
	}()
	if v.Status == 0 {
		first := v
		if body == nil {
			v, err = s.NoRequestBody()
		} else {
			v, err = s.RequestBody(iotest.OneByteReader(bytes.NewReader(body)), int64(len(body)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if v.Event == nil {
			v.Event = first.Event
		}
	}
	if v.Event == nil {
		return v, nil
	}
	var ev Event
	if err := json.Unmarshal(v.Event, &ev); err != nil {
		t.Fatal(err)
	}
	return v, &ev
}

func (e *Event) has(id int) bool {
	for _, r := range e.Rules {
		if r.ID == id {
			return true
		}
	}
	return false
}

func TestAPlainRequestPassesWithoutAnEvent(t *testing.T) {
	v, ev := judge(t, policy(t, `{}`), head("GET", "/products?page=2&sort=price"), nil)
	if v.Status != 0 || ev != nil {
		t.Fatalf("%+v %+v", v, ev)
	}
}

func TestAttacksAreBlockedWithTheRuleAndTheVariable(t *testing.T) {
	form, js, xml := "application/x-www-form-urlencoded", "application/json", "application/xml"
	multi := "multipart/form-data; boundary=XbX"
	for name, c := range map[string]struct {
		target, contentType, body string
		rule                      int
		variable                  string
	}{
		"SQL injection in the query": {"/s?q=1%27%20OR%201=1--%20", "", "", 942100, "ARGS:q"},
		"XSS in the query":           {"/s?q=%3Cscript%3Ealert(1)%3C/script%3E", "", "", 941100, "ARGS:q"},
		"path traversal":             {"/get?file=../../../../etc/passwd", "", "", 930120, "ARGS:file"},
		"SQL injection in a form":    {"/login", form, "user=a'+or+1%3D1--+&pass=x", 942100, "ARGS:user"},
		"SQL injection in JSON":      {"/api", js, `{"user":{"name":"a' or 1=1-- "}}`, 942100, "ARGS:json.user.name"},
		"XSS in XML":                 {"/api", xml, "<a><b>&lt;script>alert(1)&lt;/script></b></a>", 941100, "REQUEST_XML:/*"},
		"XSS in a multipart field":   {"/up", multi, "--XbX\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n<script>alert(1)</script>\r\n--XbX--\r\n", 941100, "ARGS:c"},
		"a script as a file name":    {"/up", multi, "--XbX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"shell.php\"\r\n\r\nhello\r\n--XbX--\r\n", 933110, "FILES"},
	} {
		t.Run(name, func(t *testing.T) {
			h, body := head("GET", c.target), []byte(nil)
			if c.body != "" {
				h, body = head("POST", c.target, "Content-Type", c.contentType), []byte(c.body)
			}
			v, ev := judge(t, policy(t, `{}`), h, body)
			if v.Status != 403 || v.Details != DetailsBlock {
				t.Fatalf("%+v %s", v, v.Event)
			}
			if ev.Action != "block" || !ev.Enforced || ev.Score < 5 || ev.Threshold != 5 || !ev.has(c.rule) {
				t.Fatalf("%s", v.Event)
			}
			for _, r := range ev.Rules {
				if r.ID == c.rule && r.Variable != c.variable {
					t.Errorf("variable %s, want %s", r.Variable, c.variable)
				}
			}
		})
	}
}

func TestDetectModeTellsAndLetsPass(t *testing.T) {
	v, ev := judge(t, policy(t, `{"mode":"detect"}`), head("GET", "/s?q=1%27%20OR%201=1--%20"), nil)
	if v.Status != 0 || ev == nil || ev.Action != "detect" || ev.Enforced || ev.Status != 403 || ev.Score < 5 || !ev.has(942100) {
		t.Fatalf("%+v %s", v, v.Event)
	}
}

func TestAScoreBelowTheThresholdIsToldAndPasses(t *testing.T) {
	v, ev := judge(t, policy(t, `{"inbound":100}`), head("GET", "/s?q=1%27%20OR%201=1--%20"), nil)
	if v.Status != 0 || ev == nil || ev.Action != "detect" || ev.Status != 0 || ev.Threshold != 100 || ev.Score < 5 {
		t.Fatalf("%+v %s", v, v.Event)
	}
}

func TestParanoiaTurnsFurtherRulesOn(t *testing.T) {
	// 920273 (paranoia 4) allows few characters in arguments.
	target := "/s?q=%C3%A9t%C3%A9"
	if v, _ := judge(t, policy(t, `{}`), head("GET", target), nil); v.Status != 0 {
		t.Fatalf("paranoia 1: %+v", v)
	}
	if v, ev := judge(t, policy(t, `{"paranoia":4}`), head("GET", target), nil); v.Status != 403 || !ev.has(920273) {
		t.Fatalf("paranoia 4: %+v", v)
	}
}

func TestExcludedRulesAndTargetsAreNotSeen(t *testing.T) {
	attack := func() *Head { return head("GET", "/s?q=1%27%20OR%201=1--%20") }
	if v, _ := judge(t, policy(t, `{"remove":[942100]}`), attack(), nil); v.Status != 0 {
		t.Fatalf("rule: %+v", v)
	}
	if v, _ := judge(t, policy(t, `{"remove_targets":[{"rule":942100,"target":"ARGS:q"}]}`), attack(), nil); v.Status != 0 {
		t.Fatalf("target: %+v", v)
	}
	if v, _ := judge(t, policy(t, `{"remove_targets":[{"rule":942100,"target":"ARGS:other"}]}`), attack(), nil); v.Status != 403 {
		t.Fatalf("other target: %+v", v)
	}
}

func TestTextPastTheLimitIs413OrJudgedAsFarAsItGoes(t *testing.T) {
	limit := `{"text_max":1000%s}`
	form := func(n int, tail string) []byte { return []byte("a=" + strings.Repeat("x", n-2-len(tail)) + tail) }
	post := func() *Head { return head("POST", "/f", "Content-Type", "application/x-www-form-urlencoded") }
	if v, _ := judge(t, policy(t, fmt.Sprintf(limit, "")), post(), form(1000, "")); v.Status != 0 {
		t.Fatalf("at the limit: %+v", v)
	}
	v, ev := judge(t, policy(t, fmt.Sprintf(limit, "")), post(), form(1001, ""))
	if v.Status != 413 || v.Details != DetailsLimit || ev.Action != "limit" || !ev.Enforced {
		t.Fatalf("past the limit: %+v %s", v, v.Event)
	}
	stream := fmt.Sprintf(limit, `,"over_limit":"stream"`)
	v, ev = judge(t, policy(t, stream), post(), form(5000, ""))
	if v.Status != 0 || ev == nil || ev.Action != "limit" || ev.Enforced {
		t.Fatalf("stream: %+v %s", v, v.Event)
	}
	if v, ev = judge(t, policy(t, stream), post(), []byte("q=1'+OR+1%3D1--+&a="+strings.Repeat("x", 5000))); v.Status != 403 || ev.Message == "" {
		t.Fatalf("stream, attack before the limit: %+v", v)
	}
	long := []byte(`{"a":"` + strings.Repeat("x", 5000) + `"}`)
	if v, _ = judge(t, policy(t, stream), head("POST", "/f", "Content-Type", "application/json"), long); v.Status != 0 {
		t.Fatalf("stream, JSON: %+v %s", v, v.Event)
	}
	if v, ev = judge(t, policy(t, fmt.Sprintf(limit, `,"mode":"detect"`)), post(), form(5000, "")); v.Status != 0 || ev.Action != "limit" {
		t.Fatalf("detect: %+v", v)
	}
}

func TestABrokenBodyIsRefused(t *testing.T) {
	v, ev := judge(t, policy(t, `{}`), head("POST", "/f", "Content-Type", "application/json"), []byte(`{"a":`))
	if v.Status != 400 || !ev.has(200002) {
		t.Fatalf("%+v %s", v, v.Event)
	}
}

func TestTooManyArgumentsAreRefused(t *testing.T) {
	v, ev := judge(t, policy(t, `{}`), head("GET", "/?"+strings.Repeat("a=1&", 1001)+"q=1"), nil)
	if v.Status != 400 || !ev.has(200004) {
		t.Fatalf("%+v %s", v, v.Event)
	}
}

func TestABodyThatCannotBeReadIsAnErrorInEveryMode(t *testing.T) {
	broken := errors.New("host gone")
	for _, mode := range []string{"block", "detect"} {
		for _, ct := range []string{"application/json", "multipart/form-data; boundary=XbX"} {
			h := head("POST", "/f", "Content-Type", ct)
			s, _, err := engine(t).Begin(h, policy(t, `{"mode":"`+mode+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.RequestBody(io.MultiReader(strings.NewReader("--XbX\r\n"), iotest.ErrReader(broken)), 100)
			if !errors.Is(err, broken) {
				t.Errorf("%s %s: %v", mode, ct, err)
			}
			if err := s.drop(); err != nil {
				t.Error(err)
			}
		}
	}
}

func squeeze(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompressedBodies(t *testing.T) {
	post := func(coding string) *Head {
		return head("POST", "/f", "Content-Type", "application/x-www-form-urlencoded", "Content-Encoding", coding)
	}
	if v, ev := judge(t, policy(t, `{}`), post("gzip"), squeeze(t, []byte("a=1"))); v.Status != 415 || v.Details != DetailsEncoding || ev.Action != "limit" {
		t.Fatalf("reject: %+v", v)
	}
	open := policy(t, `{"compressed":"decompress"}`)
	if v, ev := judge(t, open, post("gzip"), squeeze(t, []byte("a=1"))); v.Status != 0 || ev != nil {
		t.Fatalf("clean: %+v %s", v, v.Event)
	}
	if v, ev := judge(t, open, post("gzip"), squeeze(t, []byte("q=1'+OR+1%3D1--+"))); v.Status != 403 || !ev.has(942100) {
		t.Fatalf("attack: %+v %s", v, v.Event)
	}
	if v, _ := judge(t, open, post("br"), []byte("xx")); v.Status != 415 {
		t.Fatalf("unknown coding: %+v", v)
	}
	if v, _ := judge(t, open, post("gzip, gzip"), []byte("xx")); v.Status != 415 {
		t.Fatalf("two codings: %+v", v)
	}
	if v, _ := judge(t, open, post("gzip"), []byte("not gzip at all")); v.Status != 400 {
		t.Fatalf("not gzip: %+v", v)
	}
	if v, _ := judge(t, open, post("gzip"), append(squeeze(t, []byte("a=1")), "q=1"...)); v.Status != 400 {
		t.Fatalf("something after it: %+v", v)
	}
	if v, _ := judge(t, open, post("gzip"), squeeze(t, bytes.Repeat([]byte("a"), 100_000))); v.Status != 413 {
		t.Fatalf("bomb: %+v", v)
	}
}

func upload(files int, size int, fields string) (string, io.Reader, int64) {
	var before, after strings.Builder
	readers, length := []io.Reader{}, int64(0)
	add := func(s string) { readers = append(readers, strings.NewReader(s)); length += int64(len(s)) }
	for i := range files {
		before.Reset()
		fmt.Fprintf(&before, "--XbX\r\nContent-Disposition: form-data; name=\"f%d\"; filename=\"photo%d.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n", i, i)
		add(before.String())
		readers, length = append(readers, io.LimitReader(noise{}, int64(size))), length+int64(size)
		add("\r\n")
	}
	after.WriteString(fields)
	after.WriteString("--XbX--\r\n")
	add(after.String())
	return "multipart/form-data; boundary=XbX", io.MultiReader(readers...), length
}

// noise looks like a picture: no text, no boundary.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i*7 + 131)
	}
	return len(p), nil
}

func field(name, value string) string {
	return "--XbX\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func TestALargeUploadIsCountedAndNotKept(t *testing.T) {
	const size = 10 << 20
	contentType, body, length := upload(1, size, field("note", "hello"))
	h := head("POST", "/up", "Content-Type", contentType, "Content-Length", strconv.FormatInt(length, 10))
	s, v, err := engine(t).Begin(h, policy(t, `{}`))
	if err != nil || v.Status != 0 {
		t.Fatal(v, err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v, err = s.RequestBody(body, length)
	runtime.ReadMemStats(&after)
	if err != nil || v.Status != 0 || v.Event != nil {
		t.Fatalf("%+v %s %v", v, v.Event, err)
	}
	if got := s.tx.Variables().FilesCombinedSize().Get(); got != strconv.Itoa(size+len("hello")) {
		t.Errorf("FILES_COMBINED_SIZE %s", got)
	}
	if got := s.tx.Variables().FilesSizes().Get("photo0.jpg"); len(got) != 1 || got[0] != strconv.Itoa(size) {
		t.Errorf("FILES_SIZES %v", got)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes allocated for a file of %d", grown, size)
	}
	if err := s.drop(); err != nil {
		t.Error(err)
	}
}

func TestTheSplitIsCorazasOwn(t *testing.T) {
	// The same body through Coraza's buffer and through ours must leave the same variables.
	body := "--XbX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"; filename*=utf-8''b.php\r\n\r\nhello\r\n" +
		field("c", "one") + field("c", "two") + "--XbX--\r\n"
	s, _, err := engine(t).Begin(head("POST", "/up", "Content-Type", "multipart/form-data; boundary=XbX"), policy(t, `{"mode":"detect"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.RequestBody(strings.NewReader(body), int64(len(body))); err != nil {
		t.Fatal(err)
	}
	v := s.tx.Variables()
	if got := fmt.Sprint(v.Files().Get(""), v.FilesNames().Get(""), v.ArgsPost().Get("c"), v.FilesCombinedSize().Get()); got != "[b.php a.txt] [f] [one two]11" {
		t.Error(got)
	}
	if err := s.drop(); err != nil {
		t.Error(err)
	}
}

func TestTextOfAMultipartBodyIsLimitedWhileItsFilesAreNot(t *testing.T) {
	send := func(p, fields string, size int) (Verdict, error) {
		contentType, body, length := upload(3, size, fields)
		s, v, err := engine(t).Begin(head("POST", "/up", "Content-Type", contentType), policy(t, p))
		if err != nil || v.Status != 0 {
			t.Fatal(v, err)
		}
		v, err = s.RequestBody(body, length)
		if e := s.drop(); e != nil {
			t.Error(e)
		}
		return v, err
	}
	for name, c := range map[string]struct {
		policy, fields string
		size, status   int
	}{
		"files of any size":                 {`{"text_max":4000}`, field("a", "b"), 1 << 20, 0},
		"a field past the limit":            {`{"text_max":4000}`, field("a", strings.Repeat("x", 4001)), 1000, 413},
		"a long head":                       {`{"text_max":4000}`, "--XbX\r\nX-Long: " + strings.Repeat("x", 30_000) + "\r\n\r\n\r\n", 1000, 413},
		"a field that does not end":         {`{"text_max":4000}`, "--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" + strings.Repeat("x", 1<<20), 1000, 413},
		"stream lets the rest pass":         {`{"text_max":4000,"over_limit":"stream"}`, field("a", strings.Repeat("x", 100_000)), 1000, 0},
		"stream judges what comes before":   {`{"text_max":4000,"over_limit":"stream"}`, field("q", "1' OR 1=1-- ") + field("a", strings.Repeat("x", 100_000)), 1000, 403},
		"an attack after a large file":      {`{}`, field("q", "1' OR 1=1-- "), 1 << 20, 403},
		"an attack at the end of the limit": {`{"text_max":4000}`, field("a", strings.Repeat("x", 3000)) + field("q", "1' OR 1=1-- "), 1000, 403},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := send(c.policy, c.fields, c.size)
			if err != nil || v.Status != c.status {
				t.Fatalf("%+v %s %v", v, v.Event, err)
			}
		})
	}
}

func TestABodyLongerThanWhatIsHeldIsJudgedAsItPasses(t *testing.T) {
	stream := `{"over_limit":"stream"}`
	for name, c := range map[string]struct {
		policy, fields string
		cut, end       int
	}{
		"clean":                        {stream, field("a", "b"), 0, 0},
		"an attack at the end":         {stream, field("q", "1' OR 1=1-- "), 0, 403},
		"text past the limit":          {`{"over_limit":"stream","text_max":4000}`, field("a", strings.Repeat("x", 100_000)), 0, 0},
		"an attack at the end, detect": {`{"mode":"detect"}`, field("q", "1' OR 1=1-- "), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			contentType, body, length := upload(1, 1<<20, c.fields)
			h := head("POST", "/up", "Content-Type", contentType, "Transfer-Encoding", "chunked")
			s, v, err := engine(t).Begin(h, policy(t, c.policy))
			if err != nil || v.Status != 0 || !s.policy.LetsPartsPass() {
				t.Fatal(v, err)
			}
			first := int64(500_000)
			v, tail, err := s.RequestBodyPart(engine(t), h, io.LimitReader(body, first), first)
			if err != nil || v.Status != c.cut || !strings.Contains(string(v.Event), "judged as it passes") {
				t.Fatalf("%+v %s %v", v, v.Event, err)
			}
			if v, err = tail.More(io.LimitReader(body, 100_000), false); err != nil || v.Status != 0 || v.Event != nil {
				t.Fatalf("%+v %s %v", v, v.Event, err)
			}
			if v, err = tail.More(body, true); err != nil || v.Status != c.end {
				t.Fatalf("%d bytes: %+v %s %v", length, v, v.Event, err)
			}
			if err := s.drop(); err != nil {
				t.Error(err)
			}
		})
	}
	if policy(t, `{}`).LetsPartsPass() {
		t.Error("a site that rejects must have all of a body first")
	}
}

func TestAPartThatAttacksIsAnsweredAndATailThatDoesNotEndIsDropped(t *testing.T) {
	contentType, body, _ := upload(1, 1000, field("q", "1' OR 1=1-- ")+field("a", "b"))
	h := head("POST", "/up", "Content-Type", contentType, "Transfer-Encoding", "chunked")
	begin := func() *Session {
		s, _, err := engine(t).Begin(h, policy(t, `{"over_limit":"stream"}`))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := begin()
	if v, tail, err := s.RequestBodyPart(engine(t), h, body, 1200); err != nil || v.Status != 403 || tail != nil {
		t.Errorf("%+v %v %v", v, tail, err)
	}
	if err := s.drop(); err != nil {
		t.Error(err)
	}
	s = begin()
	_, tail, err := s.RequestBodyPart(engine(t), h, strings.NewReader("--XbX\r\n"), 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tail.Abort(), s.drop()); err != nil {
		t.Error(err)
	}
}

func TestAMalformedMultipartBodyIsRefused(t *testing.T) {
	body := []byte("--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end")
	if v, ev := judge(t, policy(t, `{}`), head("POST", "/up", "Content-Type", "multipart/form-data; boundary=XbX"), body); v.Status != 400 || !ev.has(200003) {
		t.Fatalf("%+v %s", v, v.Event)
	}
}

func TestUnknownContentTypesAreNotLetPast(t *testing.T) {
	v, ev := judge(t, policy(t, `{}`), head("POST", "/f", "Content-Type", "application/octet-stream"), []byte("hello"))
	if v.Status != 403 || !ev.has(920420) {
		t.Fatalf("%+v %s", v, v.Event)
	}
	// A site that allows the type still has its body looked at, as a whole.
	v, ev = judge(t, policy(t, `{"remove":[920420]}`), head("POST", "/f", "Content-Type", "application/octet-stream"), []byte("<?php system('id'); ?>"))
	if v.Status != 403 || ev.has(920420) {
		t.Fatalf("%+v %s", v, v.Event)
	}
}

func TestResponsesAreJudgedWhenAsked(t *testing.T) {
	leak := "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version</p>"
	run := func(p string) (Verdict, bool, Verdict) {
		s, v, err := engine(t).Begin(head("GET", "/"), policy(t, p))
		if err != nil || v.Status != 0 {
			t.Fatal(v, err)
		}
		if v, err := s.NoRequestBody(); err != nil || v.Status != 0 {
			t.Fatal(v, err)
		}
		v, more, err := s.ResponseHeaders(200, "HTTP/1.1", [][2]string{{"Content-Type", "text/html"}}, false)
		if err != nil {
			t.Fatal(err)
		}
		b := Verdict{}
		if more {
			if _, judged, err := s.ResponseBody(strings.NewReader(leak[:20]), false); judged || err != nil {
				t.Fatal(judged, err)
			}
			var judged bool
			if b, judged, err = s.ResponseBody(strings.NewReader(leak[20:]), true); !judged || err != nil {
				t.Fatal(judged, err)
			}
		}
		if err := s.drop(); err != nil {
			t.Error(err)
		}
		return v, more, b
	}
	if v, more, _ := run(`{}`); more || v.Status != 0 {
		t.Errorf("off: %+v", v)
	}
	if v, more, _ := run(`{"response":"headers"}`); more || v.Status != 0 {
		t.Errorf("headers: %+v", v)
	}
	if _, more, b := run(`{"response":"body"}`); !more || b.Status != 403 || !strings.Contains(string(b.Event), "RESPONSE_BODY") {
		t.Errorf("body: %v %+v %s", more, b, b.Event)
	}
	if _, _, b := run(`{"response":"body","mode":"detect"}`); b.Status != 0 || b.Event == nil {
		t.Errorf("detect: %+v", b)
	}
}

func TestDetectModeTellsEachThingOnce(t *testing.T) {
	s, v, err := engine(t).Begin(head("GET", "/s?q=1%27%20OR%201=1--%20"), policy(t, `{"mode":"detect","response":"body"}`))
	if err != nil || v.Event != nil {
		t.Fatal(v, err)
	}
	if v, err = s.NoRequestBody(); err != nil || v.Event == nil {
		t.Fatalf("%+v %v", v, err)
	}
	v, more, err := s.ResponseHeaders(200, "HTTP/1.1", [][2]string{{"Content-Type", "text/html"}}, false)
	if err != nil || v.Event != nil || !more {
		t.Fatalf("%s %v", v.Event, err)
	}
	leak := "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version</p>"
	v, _, err = s.ResponseBody(strings.NewReader(leak), true)
	var ev Event
	if err != nil || json.Unmarshal(v.Event, &ev) != nil || ev.Status != 403 || ev.Phase != 4 || ev.Score < 4 || ev.has(942100) {
		t.Fatalf("%s %v", v.Event, err)
	}
	if err := s.drop(); err != nil {
		t.Error(err)
	}
}

func TestSecretsStayOutOfEvents(t *testing.T) {
	v, ev := judge(t, policy(t, `{}`), head("GET", "/", "Cookie", "session=1'%20OR%201=1--%20;x=<script>alert(1)</script>"), nil)
	if v.Status != 403 || strings.Contains(string(v.Event), "script>") || len(ev.Rules) == 0 {
		t.Fatalf("%s", v.Event)
	}
}

func TestOwnSecLangIsNamedWhenItIsBroken(t *testing.T) {
	_, err := NewEngine(&Config{Directives: rules.Default(), Seclang: []Seclang{
		{Name: "good.conf", Text: `SecAction "id:1001,phase:1,pass,nolog"`},
		{Name: "bad.conf", Text: `SecRule NO_SUCH_VARIABLE "@rx x" "id:1002,phase:1,deny"`},
		{Name: "later.conf", Text: `SecAction "id:1003,phase:1,pass,nolog"`},
	}})
	if err == nil || !strings.HasPrefix(err.Error(), "bad.conf:1: SecRule NO_SUCH_VARIABLE ") {
		t.Fatal(err)
	}
	_, err = NewEngine(&Config{Directives: []string{"SecNoSuchDirective On"}})
	if err == nil || !strings.HasPrefix(err.Error(), "directives: ") {
		t.Fatal(err)
	}
}

func TestFilesBeforeTheRulesAreItsSetupAndAreNamedWhenTheyAreBroken(t *testing.T) {
	put := head("PUT", "/things/1")
	if v, ev := judge(t, policy(t, `{}`), put, nil); v.Status != 403 || !ev.has(911100) || ev.By == nil || ev.By.ID != 949110 {
		t.Fatalf("%+v %+v", v, ev)
	}
	setup := Seclang{Name: "setup.conf", Text: `SecAction "id:900200,phase:1,pass,nolog,setvar:'tx.allowed_methods=GET PUT'"`}
	after := Seclang{Name: "own.conf", Text: `SecRule REQUEST_URI "@beginsWith /old" "id:1001,phase:1,deny,status:410,log,msg:'gone'"`}
	e, err := NewEngine(&Config{Directives: rules.Default(), Before: []Seclang{setup}, Seclang: []Seclang{after}})
	if err != nil {
		t.Fatal(err)
	}
	if v, ev := judgeWith(t, e, policy(t, `{}`), put, nil); v.Status != 0 {
		t.Errorf("%+v %+v", v, ev)
	}
	v, ev := judgeWith(t, e, policy(t, `{}`), head("GET", "/old"), nil)
	if v.Status != 410 || ev.By == nil || *ev.By != (EventBy{1001, "gone"}) {
		t.Errorf("%+v %+v", v, ev)
	}
	_, err = NewEngine(&Config{Directives: rules.Default(), Before: []Seclang{setup, {Name: "bad.conf", Text: "\nSecNo Such"}}, Seclang: []Seclang{after}})
	if err == nil || !strings.HasPrefix(err.Error(), "bad.conf:2: ") {
		t.Fatal(err)
	}
}

func TestRulesOfTheLoggingPhaseAreToldAtTheEnd(t *testing.T) {
	scores := Seclang{Name: "before.conf", Text: `SecDefaultAction "phase:5,log,auditlog,pass"`}
	e, err := NewEngine(&Config{Directives: rules.Default(), Before: []Seclang{scores}})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{"/s?q=1%27%20OR%201=1--%20": "SQLI=5", "/": ""} {
		s, _, err := e.Begin(head("GET", target), policy(t, `{"mode":"detect"}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = s.NoRequestBody(); err != nil {
			t.Fatal(err)
		}
		event, err := s.End()
		if err != nil || (want == "") != (event == nil) || !strings.Contains(string(event), want) {
			t.Errorf("%s: %s %v", target, event, err)
		}
	}
}

func TestOwnSecLangActsAndCannotTurnTheEngineOff(t *testing.T) {
	e, err := NewEngine(&Config{Directives: rules.Default(), Seclang: []Seclang{
		{Name: "own.conf", Text: "SecRuleEngine Off\nSecRule REQUEST_URI \"@beginsWith /old\" \"id:1001,phase:1,deny,status:410,log,msg:'gone'\"\n" +
			"SecRule REQUEST_URI \"@beginsWith /moved\" \"id:1002,phase:1,redirect:'https://example.com/new',status:301,log,msg:'moved'\""},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if v, ev := judgeWith(t, e, policy(t, `{}`), head("GET", "/old"), nil); v.Status != 410 || !ev.has(1001) {
		t.Errorf("%+v", v)
	}
	if v, _ := judgeWith(t, e, policy(t, `{}`), head("GET", "/moved"), nil); v.Status != 301 || v.Location != "https://example.com/new" {
		t.Errorf("%+v", v)
	}
	if v, _ := judgeWith(t, e, policy(t, `{}`), head("GET", "/s?q=1%27%20OR%201=1--%20"), nil); v.Status != 403 {
		t.Errorf("%+v", v)
	}
}

func TestPoliciesRefuseWhatTheyDoNotKnow(t *testing.T) {
	for _, bad := range []string{
		``, `{"mode":"off"}`, `{"paranoia":5}`, `{"paranoia":0}`, `{"inbound":0}`, `{"text_max":0}`, `{"text_max":99999999}`,
		`{"over_limit":"pass"}`, `{"compressed":"pass"}`, `{"ratio_max":0}`, `{"response":"all"}`, `{"response_max":0}`,
		`{"unknown":1}`, `{} x`, `{"remove":[8000001]}`, `{"remove_targets":[{"rule":942100,"target":"NOPE:x"}]}`,
	} {
		if p, err := ParsePolicy([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, p)
		}
	}
}

func TestPoliciesAreReadOnceAndBounded(t *testing.T) {
	var c Policies
	reads := 0
	read := func() ([]byte, error) { reads++; return []byte(`{}`), nil }
	for range 3 {
		for id := range uint64(policiesMax) {
			if _, err := c.Get(id, read); err != nil {
				t.Fatal(err)
			}
		}
	}
	if reads != policiesMax {
		t.Errorf("%d reads", reads)
	}
	if _, err := c.Get(policiesMax, read); err != nil || len(c.byID) > policiesMax {
		t.Errorf("%d policies, %v", len(c.byID), err)
	}
	if _, err := c.Get(9999, func() ([]byte, error) { return nil, io.ErrUnexpectedEOF }); err == nil {
		t.Error("a policy that cannot be read is no policy")
	}
}

func TestTheRecommendedConfigurationIsTheOneOfThisCoraza(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/corazawaf/coraza/v3").Output()
	if err != nil {
		t.Fatal("go list: ", err)
	}
	want, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "coraza.conf-recommended"))
	if err != nil {
		t.Fatal(err)
	}
	have, err := rules.FS{}.ReadFile("@coraza.conf-recommended")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, have) {
		t.Error("copy coraza.conf-recommended from the module to rules/conf")
	}
}
