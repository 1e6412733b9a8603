;; A module for the tests. What it does depends on the byte after the first slash of the path:
;;   x  refuses the head            t  traps                     o  answers itself (418 "own")
;;   e  sets x-edit: yes            r  rewrites the path         b  replaces the body
;;   k  closes the stream
;;   p  lets parts of a body pass   l  makes the body longer
;; It refuses request bodies with EVIL, response heads with x-leak, response bodies with SECRET.
;; Responses: h in the path adds x-seen: yes; w replaces the body by one of the same length; c takes Content-Length out
;; and replaces the body.
(module
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function" (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))

  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))

  (memory (export "memory") 3)
  (global $heap (mut i32) (i32.const 131072))
  (data (i32.const 0) ":path")
  (data (i32.const 16) "waf")
  (data (i32.const 32) "aegis_waf_event")
  (data (i32.const 64) "{\"action\":\"block\",\"phase\":2,\"status\":403,\"enforced\":true,\"score\":5,\"threshold\":5,\"rules\":[{\"id\":942100,\"message\":\"EVIL\",\"variable\":\"ARGS:q\",\"value\":\"EVIL\",\"severity\":\"critical\",\"phase\":2}]}")
  (data (i32.const 512) "x-edit")
  (data (i32.const 520) "yes")
  (data (i32.const 528) "x-leak")
  (data (i32.const 536) "x-seen")
  (data (i32.const 544) "EVIL")
  (data (i32.const 552) "SECRET")
  (data (i32.const 560) "content-length")
  (data (i32.const 576) "/rewritten?x")
  (data (i32.const 592) "replaced")
  (data (i32.const 608) "own")

  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32)
    (global.set $heap (i32.const 131072)))
  (func (export "proxy_on_memory_allocate") (param $n i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (global.get $heap) (local.get $n)))
    (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
      (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.shr_u (local.get $n) (i32.const 16)) (i32.const 1))))
        (then (unreachable)))))
    (global.get $heap)
    (global.set $heap (local.get $end)))

  ;; The byte of the path that says what to do.
  (func $what (result i32)
    (if (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 1024) (i32.const 1028)) (then (return (i32.const 0))))
    (if (i32.lt_u (i32.load (i32.const 1028)) (i32.const 2)) (then (return (i32.const 0))))
    (i32.load8_u offset=1 (i32.load (i32.const 1024))))

  ;; Whether the last buffer holds a word of four bytes at $word.
  (func $holds (param $word i32) (result i32)
    (local $at i32) (local $end i32)
    (if (i32.lt_u (i32.load (i32.const 1028)) (i32.const 4)) (then (return (i32.const 0))))
    (local.set $at (i32.load (i32.const 1024)))
    (local.set $end (i32.sub (i32.add (local.get $at) (i32.load (i32.const 1028))) (i32.const 3)))
    (loop $next
      (if (i32.eq (i32.load align=1 (local.get $at)) (i32.load align=1 (local.get $word))) (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (i32.const 0))

  (func $refuse (result i32)
    (drop (call $foreign (i32.const 32) (i32.const 15) (i32.const 64) (i32.const 189) (i32.const 1032) (i32.const 1036)))
    (drop (call $respond (i32.const 403) (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1))

  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $what i32)
    (local.set $what (call $what))
    (if (i32.eq (local.get $what) (i32.const 120)) (then (return (call $refuse))))
    (if (i32.eq (local.get $what) (i32.const 116)) (then (unreachable)))
    (if (i32.eq (local.get $what) (i32.const 107)) (then
      (drop (call $close (i32.const 0)))
      (return (i32.const 1))))
    (if (i32.eq (local.get $what) (i32.const 111)) (then
      (drop (call $respond (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 608) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const -1)))
      (return (i32.const 1))))
    (if (i32.eq (local.get $what) (i32.const 101)) (then
      (drop (call $replace (i32.const 0) (i32.const 512) (i32.const 6) (i32.const 520) (i32.const 3)))))
    (if (i32.eq (local.get $what) (i32.const 114)) (then
      (drop (call $replace (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 576) (i32.const 12)))))
    (i32.const 0))

  (func (export "proxy_on_request_body") (param i32) (param $len i32) (param $end i32) (result i32)
    (local $what i32)
    (local.set $what (call $what))
    (if (i32.and (i32.eqz (local.get $end)) (i32.ne (local.get $what) (i32.const 112))) (then (return (i32.const 1))))
    (if (i32.eqz (call $get_buffer (i32.const 0) (i32.const 0) (local.get $len) (i32.const 1024) (i32.const 1028)))
      (then (if (call $holds (i32.const 544)) (then (return (call $refuse))))))
    (if (i32.or (i32.eq (local.get $what) (i32.const 98)) (i32.eq (local.get $what) (i32.const 108))) (then
      (drop (call $set_buffer (i32.const 0) (i32.const 0) (local.get $len) (i32.const 592) (i32.const 8)))))
    (i32.const 0))

  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (local $what i32)
    (if (i32.eqz (call $get (i32.const 2) (i32.const 528) (i32.const 6) (i32.const 1024) (i32.const 1028)))
      (then (return (call $refuse))))
    (local.set $what (call $what))
    (if (i32.eq (local.get $what) (i32.const 104)) (then
      (drop (call $replace (i32.const 2) (i32.const 536) (i32.const 6) (i32.const 520) (i32.const 3)))))
    (if (i32.eq (local.get $what) (i32.const 99)) (then
      (drop (call $remove (i32.const 2) (i32.const 560) (i32.const 14)))))
    (i32.const 0))

  (func (export "proxy_on_response_body") (param i32) (param $len i32) (param $end i32) (result i32)
    (local $what i32)
    (if (i32.eqz (call $get_buffer (i32.const 1) (i32.const 0) (local.get $len) (i32.const 1024) (i32.const 1028)))
      (then (if (call $holds (i32.const 552)) (then (return (call $refuse))))))
    (if (i32.eqz (local.get $end)) (then (return (i32.const 0))))
    (local.set $what (call $what))
    (if (i32.or (i32.eq (local.get $what) (i32.const 119)) (i32.eq (local.get $what) (i32.const 99))) (then
      (drop (call $set_buffer (i32.const 1) (i32.const 0) (local.get $len) (i32.const 592) (i32.const 8)))))
    (i32.const 0))
)
