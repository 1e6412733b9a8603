//! The TLS side of a listener.

use crate::conn::Conn;
use crate::refusal::Refusal;
use aegis_certs::{Certificates, Protocols, apply_policy};
use aegis_identity::{Alpn, Ja4, TlsFacts};
use aegis_settings::model::{ListenerTls, TlsVersion};
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::ssl::{
    ClientHello, ExtensionType, NameType, SelectCertError, Ssl, SslAcceptor, SslMethod, SslRef,
    SslVersion,
};
use pingora_core::protocols::tls::SslStream;
use pingora_core::protocols::tls::server::prepare_tls_stream;
use std::sync::{Arc, LazyLock};

/// Where a connection keeps the fingerprint of its `ClientHello` until the handshake is done.
static FINGERPRINT: LazyLock<Option<Index<Ssl, Ja4>>> = LazyLock::new(|| Ssl::new_ex_index().ok());

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
    fingerprint(&mut hello);
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

/// Keeps what the client's offer says of its program; some microseconds of a handshake.
fn fingerprint(hello: &mut ClientHello<'_>) {
    if let (Some(place), Some(ja4)) = (*FINGERPRINT, Ja4::of_client_hello(hello.as_bytes())) {
        hello.ssl_mut().set_ex_data(place, ja4);
    }
}

/// Shakes hands.
pub(crate) async fn handshake(
    acceptor: &SslAcceptor,
    conn: Conn,
) -> Result<SslStream<Conn>, Refusal> {
    let mut stream = prepare_tls_stream(acceptor, conn).map_err(|_| Refusal::TlsError)?;
    match stream.accept().await {
        Ok(()) => Ok(stream),
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
        ja4: FINGERPRINT.and_then(|place| ssl.ex_data(place).copied()),
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
