//! What we agree to in a handshake.

use crate::library;
use boring::error::ErrorStack;
use boring::ssl::{AlpnError, SslContextBuilder, SslSessionCacheMode, select_next_proto};

/// Cipher suites of TLS 1.2: forward secret and authenticated, hardware's AES first. TLS 1.3 has only such.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
     ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
     ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/// Key exchange, the post-quantum hybrid first (draft-ietf-tls-ecdhe-mlkem).
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";

/// Application protocols a listener offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocols {
    /** `h2`, then `http/1.1`. */
    H2AndHttp1,
    /** `http/1.1` alone. */
    Http1,
}

impl Protocols {
    const fn wire(self) -> &'static [u8] {
        match self {
            Self::H2AndHttp1 => b"\x02h2\x08http/1.1",
            Self::Http1 => b"\x08http/1.1",
        }
    }
}

/// Sets ciphers, groups, application protocols and how sessions are resumed: by tickets alone, nothing is kept here.
///
/// It has to be the same for the context a handshake begins with and the one its certificate brings: BoringSSL takes
/// some of this from the one, some from the other.
///
/// # Errors
/// If the TLS library does not know a name here.
pub fn apply_policy(
    context: &mut SslContextBuilder,
    protocols: Protocols,
) -> Result<(), ErrorStack> {
    context.set_strict_cipher_list(CIPHERS)?;
    context.set_curves_list(GROUPS)?;
    // RFC 7301 §3.2: nothing in common ends the handshake. Going on regardless is what cross-protocol attacks live on.
    context.set_alpn_select_callback(move |_, offered| {
        select_next_proto(protocols.wire(), offered).ok_or(AlpnError::ALERT_FATAL)
    });
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    library::use_ticket_keys(context);
    Ok(())
}
