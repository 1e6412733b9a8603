//go:build wasip1

package main

import (
	"encoding/binary"
	"unsafe"
)

// Host functions as they are: every status as its number. For what the SDK lacks, or turns into an error without one.

//go:wasmimport env proxy_log
func proxyLog(level uint32, text *byte, size int32) uint32

//go:wasmimport env proxy_get_log_level
func proxyGetLogLevel(level *uint32) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func proxyGetCurrentTime(time *uint64) uint32

//go:wasmimport env proxy_get_buffer_status
func proxyGetBufferStatus(kind uint32, size *uint32, flags *uint32) uint32

//go:wasmimport env proxy_get_header_map_size
func proxyGetHeaderMapSize(kind uint32, size *uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func proxyGetHeaderMapValue(kind uint32, name *byte, size int32, value unsafe.Pointer, length *int32) uint32

//go:wasmimport env proxy_close_stream
func proxyCloseStream(kind uint32) uint32

//go:wasmimport env proxy_get_status
func proxyGetStatus(code *uint32, message unsafe.Pointer, size *int32) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(status uint32, details *byte, detailsSize int32, body *byte, bodySize int32,
	headers *byte, headersSize int32, grpc int32) uint32

//go:wasmimport env proxy_http_call
func proxyHTTPCall(pool *byte, poolSize int32, headers *byte, headersSize int32, body *byte, bodySize int32,
	trailers *byte, trailersSize int32, timeout uint32, token *uint32) uint32

//go:wasmimport env proxy_grpc_call
func proxyGrpcCall(service *byte, serviceSize int32, name *byte, nameSize int32, method *byte, methodSize int32,
	metadata *byte, metadataSize int32, message *byte, messageSize int32, timeout uint32, token *uint32) uint32

//go:wasmimport env proxy_grpc_stream
func proxyGrpcStream(service *byte, serviceSize int32, name *byte, nameSize int32, method *byte, methodSize int32,
	metadata *byte, metadataSize int32, token *uint32) uint32

//go:wasmimport env proxy_grpc_send
func proxyGrpcSend(token uint32, message *byte, size int32, end uint32) uint32

//go:wasmimport env proxy_grpc_cancel
func proxyGrpcCancel(token uint32) uint32

//go:wasmimport env proxy_grpc_close
func proxyGrpcClose(token uint32) uint32

//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key *byte, keySize int32, value *byte, size int32, cas uint32) uint32

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name *byte, size int32, id *uint32) uint32

//go:wasmimport env proxy_record_metric
func proxyRecordMetric(id uint32, value uint64) uint32

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id uint32, offset int64) uint32

//go:wasmimport env proxy_get_metric
func proxyGetMetric(id uint32, value *uint64) uint32

//go:wasmimport env proxy_set_property
func proxySetProperty(path *byte, pathSize int32, value *byte, size int32) uint32

//go:wasmimport env proxy_call_foreign_function
func proxyCallForeignFunction(name *byte, nameSize int32, argument *byte, size int32, result unsafe.Pointer, resultSize *int32) uint32

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(id uint32) uint32

//go:wasmimport env proxy_done
func proxyDone() uint32

//go:wasmimport wasi_snapshot_preview1 args_sizes_get
func argsSizesGet(count, size *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 environ_sizes_get
func environSizesGet(count, size *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTimeGet(clock uint32, precision uint64, time *uint64) uint32

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(to *byte, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sched_yield
func schedYield() uint32

//go:wasmimport wasi_snapshot_preview1 fd_write
func fdWrite(fd uint32, pieces unsafe.Pointer, count uint32, written *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_get
func fdPrestatGet(fd uint32, to *byte) uint32

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(fd, flags uint32, path *byte, size, open uint32, rights, inherited uint64, fdflags uint32, to *uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sock_send
func sockSend(fd uint32, pieces unsafe.Pointer, count, flags uint32, sent *uint32) uint32

// at is where a text is, and how long it is.
func at(text string) (*byte, int32) { return unsafe.StringData(text), int32(len(text)) }

// pairs are in the ABI's form: their number, the lengths of each, then the texts, each with a NUL.
func pairs(of ...[2]string) string {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(of)))
	for _, p := range of {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p[1])))
	}
	for _, p := range of {
		out = append(append(append(append(out, p[0]...), 0), p[1]...), 0)
	}
	return string(out)
}
