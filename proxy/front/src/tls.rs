//! The TLS side of a listener.

use crate::conn::Conn;
use crate::refusal::Refusal;
use aegis_certs::{Certificates, Protocols, apply_policy};
use aegis_identity::{Alpn, TlsFacts};
use aegis_settings::model::{ListenerTls, TlsVersion};
use boring::error::ErrorStack;
use boring::ssl::{
    ClientHello, ExtensionType, NameType, SelectCertError, SslAcceptor, SslMethod, SslRef,
    SslVersion,
};
use pingora_core::protocols::tls::SslStream;
use pingora_core::protocols::tls::server::prepare_tls_stream;
use std::sync::Arc;

/// What a TLS listener accepts with.
///
/// The certificate is chosen in BoringSSL's early callback by switching to a context that the store has ready. Pingora's
/// own way (suspend the handshake, call an async callback, set certificate and key) allocates twice and encodes the
/// chain anew for every handshake.
pub(crate) fn acceptor(
    tls: &ListenerTls,
    certificates: Arc<Certificates>,
) -> Result<SslAcceptor, ErrorStack> {
    let protocols = if tls.http2 {
        Protocols::H2AndHttp1
    } else {
        Protocols::Http1
    };
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
    apply_policy(&mut builder, protocols)?;
    builder.set_min_proto_version(Some(match tls.min_version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    }))?;
    builder.set_select_certificate_callback(move |hello| choose(&certificates, protocols, hello));
    Ok(builder.build())
}

fn choose(
    certificates: &Certificates,
    protocols: Protocols,
    mut hello: ClientHello<'_>,
) -> Result<(), SelectCertError> {
    let store = certificates.current();
    let offer = store
        .choose(hello.servername(NameType::HOST_NAME))
        .ok_or(SelectCertError::ERROR)?;
    let key =
        Arc::clone(offer.for_client(|| hello.get_extension(ExtensionType::SIGNATURE_ALGORITHMS)));
    hello
        .ssl_mut()
        .set_ssl_context(key.context(protocols))
        .map_err(|_| SelectCertError::ERROR)
}

/// Shakes hands.
pub(crate) async fn handshake(
    acceptor: &SslAcceptor,
    conn: Conn,
) -> Result<SslStream<Conn>, Refusal> {
    let mut stream = prepare_tls_stream(acceptor, conn).map_err(|_| Refusal::TlsError)?;
    match stream.accept().await {
        Ok(()) => Ok(stream),
        Err(_) if stream.get_ref().is_hello_late() => Err(Refusal::HelloTimeout),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake");
            Err(Refusal::of_handshake(&error))
        }
    }
}

/// What was agreed on.
pub(crate) fn facts(ssl: &SslRef) -> TlsFacts {
    TlsFacts {
        version: ssl.version_str(),
        cipher: ssl.current_cipher().map_or("", |cipher| cipher.name()),
        sni: ssl.servername(NameType::HOST_NAME).and_then(server_name),
        alpn: ssl.selected_alpn_protocol().and_then(Alpn::from_wire),
        group: ssl.curve_name(),
    }
}

/// A name that is one: what a client puts there otherwise shall not reach a log or a module.
fn server_name(name: &str) -> Option<Box<str>> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty() && name.bytes().all(valid)).then(|| name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_name_is_kept_of_what_a_client_names() {
        assert_eq!(
            server_name("Shop.Example.").as_deref(),
            Some("shop.example")
        );
        for name in ["", ".", "a b", "a\nb", "a\"b", "é.example", "a/b"] {
            assert_eq!(server_name(name), None, "{name:?}");
        }
    }
}
