//go:build wasip1

package main

import (
	"runtime"
	"runtime/debug"
)

// beforeSnapshot is what a host calls last before it copies this instance: the heap is made small, and from then on
// nothing is collected below memoryLimit. A copy serves some dozens of requests and is thrown away as a whole, which costs
// less than looking through a heap that is mostly compiled rules, again and again.
//
//go:wasmexport aegis_before_snapshot
func beforeSnapshot() {
	// The second one takes what pools had kept over the first.
	runtime.GC()
	runtime.GC()
	debug.SetGCPercent(-1)
}
