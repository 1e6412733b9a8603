// Package waf judges HTTP requests and responses with Coraza and the OWASP Core Rule Set.
//
// It knows nothing of WebAssembly: the module's main package feeds it, and so do the tests, natively.
//
// Invariants:
//   - One [Engine] is one compiled set of rules; sites differ only by the [Policy] given to each [Session].
//   - Every error is a refusal: a Session that cannot judge answers with an error, and its caller must fail closed.
//   - Memory is bounded: inspected text by Policy.TextMax, file contents of multipart bodies are counted and dropped,
//     events carry at most [eventRulesMax] rules of at most [eventValueMax] bytes of value.
package waf
