//! Files and secrets.

use super::scalar::{Scalar, Wrong};
use crate::shape;
use std::path::PathBuf;

const PATH_MAX: usize = 4_095;

/// A path; relative ones start from the folder of the settings file.
pub(crate) fn path() -> Scalar<PathBuf> {
    let shape = shape::Scalar::Text {
        what: "a path",
        pattern: "^[^\\u0000]+$",
        max: PATH_MAX,
    };
    Scalar::new(shape, PathBuf::new(), |text, context| {
        if is_path(text.text) {
            Ok(context.resolve(text.text))
        } else {
            Err(Wrong::plain())
        }
    })
}

fn is_path(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('\0')
}

/// A reference to a secret; the secret itself never stands in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The content of a file.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// `file:PATH` or `env:NAME`.
pub(crate) fn secret() -> Scalar<Secret> {
    let what = "`file:PATH` or `env:NAME`";
    let pattern = "^(file:[^\\u0000]+|env:[A-Za-z_][A-Za-z0-9_]*)$";
    // Long enough for a key that was pasted in, so that the remedy below can name the mistake.
    let shape = shape::Scalar::Text {
        what,
        pattern,
        max: 64 << 10,
    };
    Scalar::new(shape, Secret::Env(String::new()), |text, context| {
        let text = text.text;
        if let Some(path) = text.strip_prefix("file:")
            && is_path(path)
            && path.len() <= PATH_MAX
        {
            return Ok(Secret::File(context.resolve(path)));
        }
        if let Some(name) = text.strip_prefix("env:")
            && is_variable(name)
        {
            return Ok(Secret::Env(name.to_owned()));
        }
        // What stands there may be the secret: it is not repeated.
        let (found, help) = if text.contains("-----BEGIN") {
            (
                "a key itself",
                "put it in a file only Aegis can read and write `file:PATH`",
            )
        } else if text.starts_with("env:") {
            (
                "`env:` without a good name",
                "a name has letters, digits and `_`",
            )
        } else {
            (
                "something else",
                "for a file write `file:PATH`; secrets do not stand in the settings",
            )
        };
        Err(Wrong {
            found: Some(found.to_owned()),
            help: Some(help.to_owned()),
        })
    })
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// `stdout` or a path.
pub(crate) fn log_target() -> Scalar<LogTarget> {
    let shape = shape::Scalar::Text {
        what: "`stdout` or a path",
        pattern: "^[^\\u0000]+$",
        max: PATH_MAX,
    };
    Scalar::new(shape, LogTarget::Stdout, |text, context| match text.text {
        "stdout" => Ok(LogTarget::Stdout),
        path if is_path(path) => Ok(LogTarget::File(context.resolve(path))),
        _ => Err(Wrong::plain()),
    })
}
