//! Who is at the other end, and what he may do.
//!
//! Whoever may open the socket (0660) may ask, and the two users that could do everything anyway, root and the one Aegis
//! runs as, may change. Once there are tokens, every change needs one, so that it has a name; and so does asking, for
//! everybody but those two.

use crate::tokens::Tokens;
use aegis_settings::model::AdminRole;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

/// The process at the other end of the socket, as the kernel tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: Option<u32>,
    pub(super) pid: Option<i32>,
}

/// Not without another token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) who: String,
    pub(super) why: String,
}

impl Peer {
    /// Who has power over this node whatever the socket says.
    fn is_operator(self) -> bool {
        let own = rustix::process::geteuid().as_raw();
        self.uid.is_some_and(|uid| uid == 0 || uid == own)
    }

    fn name(self) -> String {
        match self.uid {
            Some(0) => "root".to_owned(),
            Some(uid) => format!("uid-{uid}"),
            None => "unknown".to_owned(),
        }
    }
}

/// The name of who asks, if he may.
pub(super) fn admit(
    headers: &HeaderMap,
    peer: Peer,
    tokens: &Tokens,
    role: AdminRole,
) -> Result<String, Denied> {
    let denied = |status, who: String, why: &str| Denied {
        status,
        who,
        why: why.to_owned(),
    };
    let unauthorized = |why| denied(StatusCode::UNAUTHORIZED, peer.name(), why);
    if let Some(given) = headers.get(AUTHORIZATION) {
        let secret = given
            .as_bytes()
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
        let Some((_, secret)) = secret else {
            return Err(unauthorized(
                "a token is shown as `Authorization: Bearer …`",
            ));
        };
        let Some(token) = tokens.find(secret) else {
            return Err(unauthorized("this token is none of node.admin.tokens"));
        };
        return if token.may(role) {
            Ok(token.name.clone())
        } else {
            let why = format!(
                "the token `{}` does not have the role `{}` (node.admin.tokens[].roles)",
                token.name,
                role.as_str()
            );
            Err(denied(StatusCode::FORBIDDEN, token.name.clone(), &why))
        };
    }
    match (role, tokens.is_empty(), peer.is_operator()) {
        (AdminRole::Read, true, _)
        | (AdminRole::Read, false, true)
        | (AdminRole::Ban, true, true) => Ok(peer.name()),
        (_, false, _) => Err(unauthorized(
            "this needs a token of node.admin.tokens: set AEGIS_TOKEN, or give --token-file FILE",
        )),
        (AdminRole::Ban, true, false) => Err(denied(
            StatusCode::FORBIDDEN,
            peer.name(),
            "only root and the user Aegis runs as may change anything here; for others set node.admin.tokens",
        )),
    }
}
