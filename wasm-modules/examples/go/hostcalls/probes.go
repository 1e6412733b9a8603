//go:build wasip1

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

// lines is the text of an answer: one "name: value" a line.
type lines struct{ strings.Builder }

func (l *lines) say(name string, value ...any) {
	l.WriteString(name + ": " + strings.TrimSuffix(fmt.Sprintln(value...), "\n") + "\n")
}

func text(b []byte, err error) string {
	if err != nil {
		return "(none)"
	}
	return string(b)
}

// status is that of a call through the SDK.
func status(err error) int {
	for number, e := range map[int]error{
		0: nil, 1: types.ErrorStatusNotFound, 2: types.ErrorStatusBadArgument, 7: types.ErrorStatusEmpty,
		8: types.ErrorStatusCasMismatch, 10: types.ErrorInternalFailure, 12: types.ErrorUnimplemented,
	} {
		if errors.Is(err, e) {
			return number
		}
	}
	return -1
}

func (s *stream) run(probe string) string {
	l := &lines{}
	switch probe {
	case "fields":
		fields(l)
	case "properties":
		properties(l)
	case "own_property":
		ownProperty(l)
	case "data":
		data(l)
	case "get":
		b, _, err := proxywasm.GetSharedData(strings.ReplaceAll(s.query["key"], "%20", " "))
		l.say("value", text(b, err))
	case "queue":
		queue(l)
	case "metrics":
		metrics(l)
	case "log":
		logging(l)
	case "time":
		var now uint64
		proxyGetCurrentTime(&now)
		l.say("seconds", now/1e9)
	case "configuration":
		l.say("plugin", text(proxywasm.GetPluginConfiguration()))
		l.say("vm", text(proxywasm.GetVMConfiguration()))
	case "wasi":
		wasi(l)
	case "foreign":
		foreign(l)
	case "grpc":
		grpc(l)
	default:
		l.say("unknown probe", probe)
	}
	return l.String()
}

func fields(l *lines) {
	var size uint32
	got := proxyGetHeaderMapSize(0, &size)
	l.say("size", got, size > 0)
	headers, _ := proxywasm.GetHttpRequestHeaders()
	for _, h := range headers {
		l.say("field", h[0]+"="+h[1])
	}
	probe, _ := proxywasm.GetHttpRequestHeader("X-PROBE")
	l.say("x-probe", probe)
	var value unsafe.Pointer
	var length int32
	name, n := at("nope")
	l.say("missing", proxyGetHeaderMapValue(0, name, n, unsafe.Pointer(&value), &length))
	l.say("response fields in the request", proxyGetHeaderMapSize(2, &size))
}

func properties(l *lines) {
	for _, path := range []string{
		"plugin_name", "plugin_root_id", "request.path", "request.url_path", "request.query", "request.host", "request.scheme",
		"request.method", "request.protocol", "request.id", "request.headers.x-probe", "source.address", "destination.address",
		"connection.tls_version", "connection.requested_server_name", "aegis.site", "aegis.waf_policy", "no.such",
	} {
		l.say(path, text(proxywasm.GetProperty(strings.Split(path, "."))))
	}
	for _, path := range []string{"source.port", "destination.port", "request.time", "aegis.waf_policy_id"} {
		raw, _ := proxywasm.GetProperty(strings.Split(path, "."))
		number := int64(-1)
		if len(raw) == 8 {
			number = int64(binary.LittleEndian.Uint64(raw))
		}
		l.say(path, number)
	}
}

func ownProperty(l *lines) {
	own := []string{"probe", "own"}
	l.say("set", status(proxywasm.SetProperty(own, []byte("kept"))))
	l.say("get", text(proxywasm.GetProperty(own)))
	fact, n := at("request\x00path")
	l.say("a fact", proxySetProperty(fact, n, fact, n))
}

func data(l *lines) {
	get := func() (string, uint32) {
		b, cas, err := proxywasm.GetSharedData("probe")
		return text(b, err), cas
	}
	value, _ := get()
	l.say("before", value)
	l.say("set", status(proxywasm.SetSharedData("probe", []byte("one"), 0)))
	value, cas := get()
	l.say("get", value)
	l.say("wrong cas", status(proxywasm.SetSharedData("probe", []byte("two"), cas+1)))
	l.say("right cas", status(proxywasm.SetSharedData("probe", []byte("two"), cas)))
	value, _ = get()
	l.say("get", value)
	key, n := at("probe")
	l.say("remove", proxySetSharedData(key, n, nil, 0, 0))
	value, _ = get()
	l.say("after", value)
}

func queue(l *lines) {
	_, err := proxywasm.ResolveSharedQueue("", "nope")
	l.say("unknown", err == nil)
	id, err := proxywasm.RegisterSharedQueue("probe")
	if err != nil {
		l.say("registered", false)
		return
	}
	found, err := proxywasm.ResolveSharedQueue("", "probe")
	l.say("resolved", err == nil && found == id)
	l.say("empty", text(proxywasm.DequeueSharedQueue(id)))
	l.say("in", status(proxywasm.EnqueueSharedQueue(id, []byte("first"))))
	l.say("out", text(proxywasm.DequeueSharedQueue(id)))
	l.say("for the root", status(proxywasm.EnqueueSharedQueue(id, []byte("second"))))
}

func metrics(l *lines) {
	define := func(kind uint32, name string) (id uint32) {
		p, n := at(name)
		proxyDefineMetric(kind, p, n, &id)
		return id
	}
	counter, gauge, histogram := define(0, "probe_counter"), define(1, "probe_gauge"), define(2, "probe_histogram")
	l.say("again the same", define(0, "probe_counter") == counter)
	incremented := proxyIncrementMetric(counter, 3)
	var value uint64
	proxyGetMetric(counter, &value)
	l.say("counter", incremented, value >= 3)
	l.say("gauge set", proxyRecordMetric(gauge, 7))
	l.say("gauge down", proxyIncrementMetric(gauge, -2))
	proxyGetMetric(gauge, &value)
	l.say("gauge is", value)
	l.say("histogram", proxyRecordMetric(histogram, 5))
	name, n := at("x")
	var id uint32
	l.say("no such kind", proxyDefineMetric(9, name, n, &id))
	l.say("no such metric", proxyGetMetric(987_654, &value))
}

func logging(l *lines) {
	say := func(level uint32, what string) uint32 {
		p, n := at(what)
		return proxyLog(level, p, n)
	}
	var said []any
	for level := range uint32(6) {
		said = append(said, say(level, fmt.Sprintf("probe %d", level)))
	}
	l.say("said", said...)
	l.say("no such level", say(9, "probe"))
	level := uint32(99)
	got := proxyGetLogLevel(&level)
	l.say("level", got, level <= 5)
}

// wasi: a clock, randomness and log lines; everything else is closed.
func wasi(l *lines) {
	a, b := uint32(9), uint32(9)
	got := argsSizesGet(&a, &b)
	l.say("args", got, a == 0 && b == 0)
	a, b = 9, 9
	got = environSizesGet(&a, &b)
	l.say("environ", got, a == 0 && b == 0)
	var time uint64
	got = clockTimeGet(0, 1, &time)
	l.say("clock", got, time > 1_700_000_000_000_000_000)
	var random [16]byte
	got = randomGet(&random[0], 16)
	l.say("random", got, random != [16]byte{})
	l.say("yield", schedYield())
	line := "probe\n"
	piece := [2]uint32{uint32(uintptr(unsafe.Pointer(unsafe.StringData(line)))), uint32(len(line))}
	var n uint32
	got = fdWrite(1, unsafe.Pointer(&piece), 1, &n)
	l.say("stdout", got, n == uint32(len(line)))
	l.say("file", fdWrite(7, unsafe.Pointer(&piece), 1, &n))
	l.say("preopened", fdPrestatGet(3, &random[0]))
	name, _ := at("x")
	l.say("open", pathOpen(3, 0, name, 1, 0, 0, 0, 0, &a))
	l.say("socket", sockSend(3, unsafe.Pointer(&piece), 1, 0, &n))
}
