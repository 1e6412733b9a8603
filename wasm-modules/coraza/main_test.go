package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"aegis-coraza/waf"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/proxytest"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// site runs a request through the ABI glue on the SDK's emulator of a host.
type site struct {
	proxytest.HostEmulator
	events []waf.Event
}

func open(t *testing.T, config, policy string) (*site, types.OnPluginStartStatus) {
	t.Helper()
	vm := &pluginVM{}
	host, reset := proxytest.NewHostEmulator(proxytest.NewEmulatorOption().WithVMContext(vm).WithPluginConfiguration([]byte(config)))
	t.Cleanup(reset)
	s := &site{HostEmulator: host}
	host.RegisterForeignFunction(eventFunction, func(data []byte) []byte {
		var e waf.Event
		if err := json.Unmarshal(data, &e); err != nil {
			t.Error(err)
		}
		s.events = append(s.events, e)
		return []byte{0} // the emulator cannot return nothing
	})
	properties := map[string]string{
		"request.id": "01JD8Z3V6QTESTTESTTESTTEST", "request.protocol": "HTTP/1.1",
		"source.address": "203.0.113.9:40000", "destination.address": "192.0.2.1:443",
	}
	if policy != "" {
		properties["aegis.waf_policy"] = policy
		properties["aegis.waf_policy_id"] = string(binary.LittleEndian.AppendUint64(nil, 7))
	}
	for path, value := range properties {
		if err := host.SetProperty(strings.Split(path, "."), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	return s, host.StartPlugin()
}

type pluginVM struct{ types.DefaultVMContext }

func (*pluginVM) NewPluginContext(uint32) types.PluginContext { return &plugin{} }

var browser = [][2]string{{"Host", "shop.example.com"}, {"User-Agent", "Mozilla/5.0"}, {"Accept", "*/*"}}

func head(method, target string, more ...[2]string) [][2]string {
	h := [][2]string{{":method", method}, {":path", target}, {":authority", "shop.example.com"}, {":scheme", "https"}}
	return append(append(h, browser...), more...)
}

func TestARequestIsJudgedThroughTheABI(t *testing.T) {
	s, status := open(t, "", `{"response":"body"}`)
	if status != types.OnPluginStartStatusOK {
		t.Fatal(s.GetCriticalLogs())
	}
	attack := s.InitializeHttpContext()
	if a := s.CallOnRequestHeaders(attack, head("GET", "/s?q=1%27%20OR%201=1--%20"), true); a != types.ActionPause {
		t.Error("the attack went on")
	}
	if r := s.GetSentLocalResponse(attack); r == nil || r.StatusCode != 403 {
		t.Errorf("%+v", r)
	}
	if len(s.events) != 1 || s.events[0].Action != "block" {
		t.Fatalf("%+v", s.events)
	}
	s.CompleteHttpContext(attack)

	clean := s.InitializeHttpContext()
	if a := s.CallOnRequestHeaders(clean, head("POST", "/f", [2]string{"Content-Type", "application/json"}, [2]string{"Content-Length", "8"}), false); a != types.ActionPause {
		t.Error("the head went on before its body was judged")
	}
	if a := s.CallOnRequestBody(clean, []byte(`{"a": 1}`), true); a != types.ActionContinue || s.GetSentLocalResponse(clean) != nil {
		t.Errorf("%v %+v", a, s.GetSentLocalResponse(clean))
	}
	if a := s.CallOnResponseHeaders(clean, [][2]string{{":status", "200"}, {"Content-Type", "text/html"}}, false); a != types.ActionContinue {
		t.Error("the response's head was held")
	}
	leak := "<p>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version</p>"
	if a := s.CallOnResponseBody(clean, []byte(leak[:20]), false); a != types.ActionPause {
		t.Error("a response went on before it was judged")
	}
	s.CallOnResponseBody(clean, []byte(leak[20:]), true)
	if r := s.GetSentLocalResponse(clean); r == nil || r.StatusCode != 403 {
		t.Errorf("%+v", r)
	}
	s.CompleteHttpContext(clean)
}

func TestABodyIsHeldUntilItIsWholeOrJudgedAsItPasses(t *testing.T) {
	for policy, first := range map[string]types.Action{`{}`: types.ActionPause, `{"over_limit":"stream"}`: types.ActionContinue} {
		t.Run(policy, func(t *testing.T) {
			s, _ := open(t, "", policy)
			id := s.InitializeHttpContext()
			s.CallOnRequestHeaders(id, head("POST", "/f",
				[2]string{"Content-Type", "application/x-www-form-urlencoded"}, [2]string{"Transfer-Encoding", "chunked"}), false)
			if a := s.CallOnRequestBody(id, []byte("q=1'+OR"), false); a != first {
				t.Errorf("a part of the body: %v", a)
			}
			s.CallOnRequestBody(id, []byte("+1%3D1--+"), true)
			if r := s.GetSentLocalResponse(id); r == nil || r.StatusCode != 403 {
				t.Errorf("%+v", r)
			}
			s.CompleteHttpContext(id)
		})
	}
}

func TestAHostWithoutAPolicyGetsTheDefaultOne(t *testing.T) {
	s, _ := open(t, "", "")
	id := s.InitializeHttpContext()
	s.CallOnRequestHeaders(id, head("GET", "/s?q=1%27%20OR%201=1--%20"), true)
	if r := s.GetSentLocalResponse(id); r == nil || r.StatusCode != 403 {
		t.Errorf("%+v", r)
	}
}

func TestWhatCannotBeJudgedEndsTheInstance(t *testing.T) {
	for name, break_ := range map[string]func(*site) [][2]string{
		"a policy that does not parse": func(s *site) [][2]string {
			_ = s.SetProperty([]string{"aegis", "waf_policy"}, []byte(`{"mode":"of"}`))
			return head("GET", "/")
		},
		"a policy id of the wrong size": func(s *site) [][2]string {
			_ = s.SetProperty([]string{"aegis", "waf_policy_id"}, []byte("7"))
			return head("GET", "/")
		},
		"no target": func(*site) [][2]string { return [][2]string{{":method", "GET"}} },
		"an address that is none": func(s *site) [][2]string {
			_ = s.SetProperty([]string{"source", "address"}, []byte("somewhere"))
			return head("GET", "/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, "", `{}`)
			id := s.InitializeHttpContext()
			headers := break_(s)
			defer func() {
				if recover() == nil {
					t.Error("the request went on")
				}
			}()
			s.CallOnRequestHeaders(id, headers, true)
		})
	}
}

func TestRulesThatDoNotCompileFailTheStartAndSayWhere(t *testing.T) {
	s, status := open(t, `{"seclang":[{"name":"own.conf","text":"\nSecRule NOPE \"@rx x\" \"id:1,phase:1,deny\""}]}`, "")
	if status != types.OnPluginStartStatusFailed {
		t.Fatal("it started")
	}
	if log := strings.Join(s.GetCriticalLogs(), "\n"); !strings.Contains(log, "own.conf:2: ") || !strings.Contains(log, "NOPE") {
		t.Error(log)
	}
}

func TestTheNoticeNamesEveryModuleThatIsBuiltIn(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-tags", "tinygo,no_fs_access", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	list.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	notice, err := os.ReadFile("../../NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		name := regexp.MustCompile(`/v\d+$`).ReplaceAllString(path, "")
		name = name[strings.LastIndex(name, "/")+1:]
		if path != "aegis-coraza" && !strings.Contains(string(notice), name) {
			t.Errorf("%s is not in NOTICE", path)
		}
	}
}
