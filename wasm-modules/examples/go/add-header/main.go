// Adds one header to every response: a whole plugin in one screen.
//
// Configuration: the header as "name: value"; without one it is "x-served-by: aegis". A configuration that is no header
// refuses the start, and the line it logs is what the operator reads.
package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() {
	proxywasm.SetPluginContext(func(uint32) types.PluginContext {
		return &plugin{name: "x-served-by", value: "aegis"}
	})
}

type plugin struct {
	types.DefaultPluginContext
	name, value string
}

// OnPluginStart reads the configuration.
func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, err := proxywasm.GetPluginConfiguration()
	if err != nil || len(config) == 0 {
		return types.OnPluginStartStatusOK
	}
	if p.name, p.value, err = parse(string(config)); err != nil {
		proxywasm.LogCritical(err.Error())
		return types.OnPluginStartStatusFailed
	}
	return types.OnPluginStartStatusOK
}

// NewHttpContext begins one request.
func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }

var name = regexp.MustCompile(`^[a-z0-9_-]+$`)

func parse(config string) (string, string, error) {
	n, v, ok := strings.Cut(config, ":")
	if !ok {
		return "", "", fmt.Errorf("`%s` is no header: write `name: value`", config)
	}
	if n = strings.ToLower(strings.TrimSpace(n)); !name.MatchString(n) {
		return "", "", fmt.Errorf("`%s` is no header name", n)
	}
	return n, strings.TrimSpace(v), nil
}

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
}

// OnHttpResponseHeaders adds the header.
func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	if err := proxywasm.ReplaceHttpResponseHeader(s.plugin.name, s.plugin.value); err != nil {
		proxywasm.LogErrorf("adding %s: %v", s.plugin.name, err)
	}
	return types.ActionContinue
}
