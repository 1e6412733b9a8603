// The Aegis WAF module: Coraza and the OWASP Core Rule Set behind the proxy-wasm ABI.
//
// This package only translates: package waf judges. Whatever goes wrong here ends in a panic, which ends the instance,
// which the host turns into the site's on_error (deny by default); nothing goes on uninspected.
//
// Read from the host: the plugin configuration (waf.Config), the request's headers, body and properties, and the
// site's policy (properties aegis.waf_policy_id, aegis.waf_policy). Told to it: local responses, and events by the foreign
// function aegis_waf_event.
package main

import (
	"runtime"
	"runtime/debug"

	"aegis-coraza/waf"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// memoryLimit makes the collector work harder long before the host's bound (256 MiB) is near.
const memoryLimit = 160 << 20

func main() {}

func init() {
	debug.SetMemoryLimit(memoryLimit)
	proxywasm.SetPluginContext(func(uint32) types.PluginContext { return &plugin{} })
}

// plugin is one configured instance: compiled rules, and the policies of the sites it has seen.
type plugin struct {
	types.DefaultPluginContext
	engine   *waf.Engine
	policies waf.Policies
	fallback waf.Policy
	told     bool
}

// OnPluginStart compiles the rules. The log line of a failure is what the operator reads.
func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	config, err := pluginConfiguration()
	if err == nil {
		var c *waf.Config
		if c, err = waf.ParseConfig(config); err == nil {
			p.engine, err = waf.NewEngine(c)
		}
	}
	if err != nil {
		proxywasm.LogCritical(err.Error())
		return types.OnPluginStartStatusFailed
	}
	p.fallback = waf.DefaultPolicy()
	// What compiling left behind would otherwise set the pace of the first collections.
	runtime.GC()
	return types.OnPluginStartStatusOK
}

// NewHttpContext begins one request.
func (p *plugin) NewHttpContext(uint32) types.HttpContext { return &stream{plugin: p} }
