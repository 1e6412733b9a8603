//! Tokens of people and programs that use the admin socket.
//!
//! Only hashes are kept, and they are compared in constant time. A secret never stands in a message.

use aegis_settings::model::{Admin, AdminRole, Secret};
use std::fs::File;
use std::io::Read;

/// Bytes a secret may have.
const SECRET: std::ops::RangeInclusive<usize> = 16..=4096;

/// The tokens in force.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) name: String,
    hash: blake3::Hash,
    roles: Vec<AdminRole>,
}

/// A token that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct TokenProblem {
    /// The key of the settings.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl TokenProblem {
    /// What to do.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        "put 16 to 4096 bytes there, such as `openssl rand -hex 24` writes"
    }
}

impl Tokens {
    /// Reads the secrets of `node.admin.tokens`.
    ///
    /// # Errors
    /// Each that cannot be read, is too short or too long, or is another one's too.
    pub fn load(admin: &Admin) -> Result<Self, Vec<TokenProblem>> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut problems = Vec::new();
        for (index, token) in admin.tokens.iter().enumerate() {
            let read = read(&token.secret).and_then(|hash| {
                match tokens.iter().find(|other| other.hash == hash) {
                    Some(other) => Err(format!("this is also the secret of `{}`", other.name)),
                    None => Ok(hash),
                }
            });
            match read {
                Ok(hash) => tokens.push(Token {
                    name: token.name.clone(),
                    hash,
                    roles: token.roles.clone(),
                }),
                Err(what) => problems.push(TokenProblem {
                    key: format!("node.admin.tokens[{index}].secret"),
                    what,
                }),
            }
        }
        if problems.is_empty() {
            Ok(Self(tokens))
        } else {
            Err(problems)
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose secret this is. Takes as long for any that is nobody's.
    pub(crate) fn find(&self, secret: &[u8]) -> Option<&Token> {
        let hash = blake3::hash(secret.trim_ascii());
        // All are looked at, and blake3 compares in constant time.
        self.0.iter().fold(None, |found, token| {
            (token.hash == hash).then_some(token).or(found)
        })
    }
}

impl Token {
    pub(crate) fn may(&self, role: AdminRole) -> bool {
        self.roles.contains(&role)
    }
}

fn read(secret: &Secret) -> Result<blake3::Hash, String> {
    let bytes = match secret {
        Secret::Env(name) => {
            use std::os::unix::ffi::OsStringExt;
            std::env::var_os(name)
                .map(OsStringExt::into_vec)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?
        }
        Secret::File(path) => {
            let mut bytes = Vec::new();
            File::open(path)
                .and_then(|file| file.take(64 << 10).read_to_end(&mut bytes))
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
            bytes
        }
    };
    let secret = bytes.trim_ascii();
    if SECRET.contains(&secret.len()) {
        Ok(blake3::hash(secret))
    } else {
        Err(format!(
            "the secret has {} bytes; {} to {} are wanted",
            secret.len(),
            SECRET.start(),
            SECRET.end()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_settings::model::AdminToken;

    fn admin(secrets: &[(&str, &str, AdminRole)]) -> (tempfile::TempDir, Admin) {
        let dir = tempfile::tempdir().expect("a directory");
        let flags = aegis_settings::Flags {
            origins: vec!["http://127.0.0.1:1".to_owned()],
            ..Default::default()
        };
        let mut admin = aegis_settings::from_flags(&flags)
            .expect("good flags")
            .settings
            .node
            .admin
            .clone();
        for (name, secret, role) in secrets {
            let path = dir.path().join(name);
            std::fs::write(&path, secret).expect("writes");
            admin.tokens.push(AdminToken {
                name: (*name).to_owned(),
                secret: Secret::File(path),
                roles: vec![*role],
            });
        }
        (dir, admin)
    }

    #[test]
    fn a_token_is_found_by_its_secret_and_allows_its_roles() {
        let (_dir, admin) = admin(&[
            ("ops", "0123456789abcdef\n", AdminRole::Ban),
            ("eye", "fedcba9876543210", AdminRole::Read),
        ]);
        let tokens = Tokens::load(&admin).expect("good tokens");
        let ops = tokens.find(b"0123456789abcdef").expect("known");
        assert_eq!(ops.name, "ops");
        assert!(ops.may(AdminRole::Ban) && !ops.may(AdminRole::Read));
        assert!(tokens.find(b"0123456789abcdeg").is_none());
        assert!(tokens.find(b"").is_none());
        assert!(!format!("{tokens:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn secrets_that_are_short_long_or_shared_are_refused_without_being_repeated() {
        let long = "x".repeat(4097);
        let (_dir, admin) = admin(&[
            ("short", " hunter2hunter2 \n", AdminRole::Ban),
            ("long", &long, AdminRole::Ban),
            ("one", "0123456789abcdef", AdminRole::Ban),
            ("two", "0123456789abcdef", AdminRole::Ban),
        ]);
        let problems = Tokens::load(&admin).expect_err("bad tokens");
        let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "node.admin.tokens[0].secret: the secret has 14 bytes; 16 to 4096 are wanted",
                "node.admin.tokens[1].secret: the secret has 4097 bytes; 16 to 4096 are wanted",
                "node.admin.tokens[3].secret: this is also the secret of `one`",
            ]
        );
    }
}
