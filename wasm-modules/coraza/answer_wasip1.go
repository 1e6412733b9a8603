//go:build wasip1

package main

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// The SDK's SendHttpResponse has no way to give the details, by which the host's log tells a block from a limit.
//
//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(status uint32, details *byte, detailsLen int32, body *byte, bodyLen int32,
	headers *byte, headersLen int32, grpcStatus int32) uint32

func sendLocalResponse(status int, details string, headers [][2]string) error {
	pairs := serialize(headers)
	st := proxySendLocalResponse(uint32(status), unsafe.StringData(details), int32(len(details)), nil, 0,
		&pairs[0], int32(len(pairs)), -1)
	if st != 0 {
		return fmt.Errorf("status %d", st)
	}
	return nil
}

// serialize writes headers in the ABI's form: the number of pairs, the lengths of each, then the texts, each with a NUL.
func serialize(headers [][2]string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(headers)))
	for _, h := range headers {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(h[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(h[1])))
	}
	for _, h := range headers {
		out = append(append(append(append(out, h[0]...), 0), h[1]...), 0)
	}
	return out
}
