//go:build wasip1

package rx

import "unsafe"

// Foreign functions are how a module asks for what a host may lack: it answers NotFound, and this module does without.
// An import of its own would have every host refuse the module that does not know it.
//
//go:wasmimport env proxy_call_foreign_function
func callForeignFunction(name *byte, nameLen int32, argument unsafe.Pointer, argumentLen int32,
	result unsafe.Pointer, resultLen unsafe.Pointer) uint32

const (
	statusOK    = 0
	statusEmpty = 7

	compileText  = "aegis_rx_compile"
	compileBytes = "aegis_rx_compile_bytes"
	search       = "aegis_rx_search"
)

// Native is the engine of the host.
type Native struct{}

var _ Host = Native{}

// The words of a call: here and not on a stack, since calls are one after the other and the host writes here.
var (
	words  [5]uint32
	result *[4]byte
	length uint32
)

// Compile asks the host to compile.
func (Native) Compile(pattern string, bytes bool) (uint32, bool) {
	name := compileText
	if bytes {
		name = compileBytes
	}
	status := callForeignFunction(unsafe.StringData(name), int32(len(name)),
		unsafe.Pointer(unsafe.StringData(pattern)), int32(len(pattern)), unsafe.Pointer(&result), unsafe.Pointer(&length))
	if status != statusOK || length != 4 {
		return 0, false
	}
	number := *result
	result = nil
	return uint32(number[0]) | uint32(number[1])<<8 | uint32(number[2])<<16 | uint32(number[3])<<24, true
}

// Search asks the host to search.
func (Native) Search(id uint32, value string, groups []Group) (matched, ok bool) {
	words = [5]uint32{id, address(unsafe.Pointer(unsafe.StringData(value))), uint32(len(value)),
		address(unsafe.Pointer(unsafe.SliceData(groups))), uint32(len(groups))}
	name := search
	status := callForeignFunction(unsafe.StringData(name), int32(len(name)), unsafe.Pointer(&words), int32(unsafe.Sizeof(words)), nil, nil)
	return status == statusOK, status == statusOK || status == statusEmpty
}

func address(at unsafe.Pointer) uint32 { return uint32(uintptr(at)) }
