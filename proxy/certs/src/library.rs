//! What BoringSSL has and its Rust binding has not: revocation lists, the context of a session, the authorities named in
//! a handshake; and what the binding has and calls unsafe, the keys of session tickets. Nothing else here is unsafe.
#![expect(
    unsafe_code,
    reason = "calls of BoringSSL that its binding lacks; each says why it is sound"
)]

use crate::tickets::{self, Key};
use boring::asn1::Asn1TimeRef;
use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::hmac::HmacCtxRef;
use boring::pkey::{PKeyRef, Public};
use boring::ssl::{SslContextBuilder, SslRef, TicketKeyCallbackResult};
use boring::symm::{Cipher, CipherCtxRef};
use boring::x509::store::X509StoreBuilderRef;
use boring::x509::{X509NameRef, X509Ref};
use boring_sys as ffi;
use foreign_types::ForeignTypeRef;
use std::ffi::{c_int, c_long};
use std::ptr::{self, NonNull};

/// What most of BoringSSL's functions return when they worked.
const OK: c_int = 1;

fn worked(returned: c_int) -> Result<(), ErrorStack> {
    if returned == OK {
        Ok(())
    } else {
        Err(ErrorStack::get())
    }
}

/// A certificate revocation list (RFC 5280 §5).
pub(crate) struct Crl(NonNull<ffi::X509_CRL>);

impl Drop for Crl {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has it any more; stores hold references of their own.
        unsafe { ffi::X509_CRL_free(self.0.as_ptr()) }
    }
}

impl Crl {
    /// Reads DER; nothing may follow.
    ///
    /// # Errors
    /// What the library says.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, ErrorStack> {
        let length = c_long::try_from(der.len()).unwrap_or(c_long::MAX);
        let mut at = der.as_ptr();
        // SAFETY: at most `length` bytes are read, which are there; the list holds copies of what it needs.
        let list = unsafe { ffi::d2i_X509_CRL(ptr::null_mut(), &raw mut at, length) };
        let list = NonNull::new(list).map(Self).ok_or_else(ErrorStack::get)?;
        if ptr::eq(at, der.as_ptr_range().end) {
            Ok(list)
        } else {
            Err(ErrorStack::get())
        }
    }

    /// Whose it is.
    pub(crate) fn issuer(&self) -> &X509NameRef {
        // SAFETY: every list that could be read has an issuer, which lives as long as it.
        unsafe { X509NameRef::from_ptr(ffi::X509_CRL_get_issuer(self.0.as_ptr())) }
    }

    /// When it was made.
    pub(crate) fn this_update(&self) -> &Asn1TimeRef {
        // SAFETY: as the issuer. The pointer is only made mutable for the binding's type, which does not change it.
        unsafe { Asn1TimeRef::from_ptr(ffi::X509_CRL_get0_lastUpdate(self.0.as_ptr()).cast_mut()) }
    }

    /// Until when there will be a new one.
    pub(crate) fn next_update(&self) -> Option<&Asn1TimeRef> {
        // SAFETY: as above, and null where the list does not say.
        unsafe {
            let time = ffi::X509_CRL_get0_nextUpdate(self.0.as_ptr()).cast_mut();
            (!time.is_null()).then(|| Asn1TimeRef::from_ptr(time))
        }
    }

    /// Whether this key signed it.
    pub(crate) fn is_signed_by(&self, key: &PKeyRef<Public>) -> bool {
        // SAFETY: both are read only.
        let is = unsafe { ffi::X509_CRL_verify(self.0.as_ptr(), key.as_ptr()) } == OK;
        if !is {
            // What it left behind is about this question alone.
            drop(ErrorStack::get());
        }
        is
    }

    /// Puts it into a store.
    pub(crate) fn add_to(&self, store: &mut X509StoreBuilderRef) -> Result<(), ErrorStack> {
        // SAFETY: the store takes a reference of its own.
        worked(unsafe { ffi::X509_STORE_add_crl(store.as_ptr(), self.0.as_ptr()) })
    }
}

/// Lets go of what only a handshake needs once it is done: certificates, lists of ciphers and groups, more than a KiB of a
/// connection that may wait for an hour. What was agreed on stays.
pub fn shed_after_handshake(ssl: &mut SslRef) {
    // SAFETY: the pointer is that of a live SSL, which sheds nothing before its handshake has ended.
    unsafe { ffi::SSL_set_shed_handshake_config(ssl.as_ptr(), 1) }
}

/// Names an authority in the request for a certificate.
pub(crate) fn name_authority(ssl: &mut SslRef, authority: &X509Ref) -> Result<(), ErrorStack> {
    // SAFETY: the subject is copied.
    worked(unsafe { ffi::SSL_add_client_CA(ssl.as_ptr(), authority.as_ptr()) })
}

/// Sessions of this handshake are resumed under the same context only (RFC 5077 §5.6 leaves that to servers).
pub(crate) fn bind_session(ssl: &mut SslRef, context: &[u8; 32]) -> Result<(), ErrorStack> {
    // SAFETY: the bytes are copied; 32 is the most there may be.
    worked(unsafe {
        ffi::SSL_set_session_id_context(ssl.as_ptr(), context.as_ptr(), context.len())
    })
}

/// Tickets are made and opened with the keys in [`tickets`].
///
/// The library asks the context a handshake began with, the binding looks its callback up in the one the handshake has
/// switched to. So every context needs it.
pub(crate) fn use_ticket_keys(context: &mut SslContextBuilder) {
    // SAFETY: the callback sets name, vector, cipher and MAC whenever it says that it did.
    unsafe { context.set_ticket_key_callback(with_ticket_key) }
}

fn with_ticket_key(
    _: &SslRef,
    name: &mut [u8; 16],
    vector: &mut [u8; 16],
    cipher: &mut CipherCtxRef,
    mac: &mut HmacCtxRef,
    seal: bool,
) -> TicketKeyCallbackResult {
    let (aes, sha) = (Cipher::aes_256_cbc(), MessageDigest::sha256());
    if seal {
        let sealed = tickets::sealing(|key| {
            *name = key.name;
            getrandom::fill(vector).ok()?;
            cipher.init_encrypt(&aes, &key.cipher, vector).ok()?;
            mac.init(&key.mac, &sha).ok()
        });
        // Without randomness there is no ticket, and the next handshake is a whole one.
        return sealed.map_or(TicketKeyCallbackResult::Noop, |()| {
            TicketKeyCallbackResult::Success
        });
    }
    let opened = tickets::opening(name, |key, is_current| {
        mac.init(&key.mac, &sha).ok()?;
        cipher.init_decrypt(&aes, &key.cipher, vector).ok()?;
        Some(if is_current {
            TicketKeyCallbackResult::Success
        } else {
            TicketKeyCallbackResult::DecryptSuccessRenew
        })
    });
    opened.unwrap_or(TicketKeyCallbackResult::Noop)
}

impl Drop for Key {
    fn drop(&mut self) {
        for secret in [&mut self.cipher, &mut self.mac] {
            // SAFETY: the bytes are ours; unlike an assignment this is not optimised away.
            unsafe { ffi::OPENSSL_cleanse(secret.as_mut_ptr().cast(), secret.len()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Crl;

    #[test]
    fn what_is_no_list_is_refused() {
        for der in [
            &b""[..],
            b"\x30\x00",
            b"nonsense",
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(Crl::from_der(der).is_err(), "{der:?}");
        }
    }
}
