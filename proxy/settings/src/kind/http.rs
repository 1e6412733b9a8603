//! Paths, methods, redirects, and what rules look at.

use super::scalar::{Scalar, Wrong};
use crate::problem::nearest;
use crate::shape;

const PATH_MAX: usize = 1_024;

fn is_path_text(text: &str) -> bool {
    text.starts_with('/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
}

/// `/exact` or `/prefix/*`.
pub(crate) fn route_path() -> Scalar<String> {
    let what = "a path `/exact` or `/prefix/*`";
    let shape = shape::Scalar::Text {
        what,
        pattern: "^/([^*?# ]*/)?(\\*|[^*?# ]*)$",
        max: PATH_MAX,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let text = text.text;
        let stem = if text.ends_with("/*") {
            text.strip_suffix('*').unwrap_or(text)
        } else {
            text
        };
        if is_path_text(text) && !stem.contains('*') {
            return Ok(text.to_owned());
        }
        Err(if !text.starts_with('/') {
            Wrong::help("a path starts with `/`")
        } else if text.contains(['?', '#']) {
            Wrong::help("a route looks at the path only, not at the query")
        } else if text.contains('*') {
            Wrong::help("`*` stands only at the end, after `/`")
        } else {
            Wrong::help("write other characters percent-encoded, as a client sends them")
        })
    })
}

/// A path of a probe, perhaps with a query.
pub(crate) fn probe_path() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a path that starts with `/`",
        pattern: "^/[^# ]*$",
        max: PATH_MAX,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let good = text
            .text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if text.text.starts_with('/') && good {
            Ok(text.text.to_owned())
        } else {
            Err(Wrong::plain())
        }
    })
}

const METHODS: [&str; 9] = [
    "get", "head", "post", "put", "delete", "connect", "options", "trace", "patch",
];

/// A method (RFC 9110 §9.1: case-sensitive).
pub(crate) fn method() -> Scalar<String> {
    Scalar::new(method_shape("a method"), String::new(), |text, _| {
        read_method(text.text)
    })
}

/// A method that can be served.
pub(crate) fn served_method() -> Scalar<String> {
    let shape = method_shape("a method, but not CONNECT or TRACE");
    Scalar::new(shape, String::new(), |text, _| {
        if matches!(text.text, "CONNECT" | "TRACE") {
            return Err(Wrong::help(
                "remove it: tunnels are not made here, and TRACE would show pages what they may not see",
            ));
        }
        read_method(text.text)
    })
}

const fn method_shape(what: &'static str) -> shape::Scalar {
    shape::Scalar::Text {
        what,
        pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        max: 32,
    }
}

fn read_method(text: &str) -> Result<String, Wrong> {
    if METHODS.contains(&text.to_ascii_lowercase().as_str())
        && !text.bytes().all(|byte| byte.is_ascii_uppercase())
    {
        return Err(Wrong::help(format!("write {}", text.to_ascii_uppercase())));
    }
    if !text.is_empty() && text.bytes().all(is_token_byte) {
        Ok(text.to_owned())
    } else {
        Err(Wrong::plain())
    }
}

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A status that redirects.
pub(crate) fn redirect_status() -> Scalar<u16> {
    Scalar::new(
        shape::Scalar::Among(&[301, 302, 303, 307, 308]),
        0,
        |text, _| match text.text {
            "301" if text.plain => Ok(301),
            "302" if text.plain => Ok(302),
            "303" if text.plain => Ok(303),
            "307" if text.plain => Ok(307),
            "308" if text.plain => Ok(308),
            "301" | "302" | "303" | "307" | "308" => Err(Wrong::help("remove the quotes")),
            _ => Err(Wrong::plain()),
        },
    )
}

/// What a redirect's target may hold.
const PLACEHOLDERS: [&str; 2] = ["host", "path"];

/// A target of a redirect: a URL or a path, with `{host}` and `{path}`.
pub(crate) fn location() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a URL or a path to redirect to",
        pattern: "^(https?://|/|\\{path\\})[^ ]*$",
        max: 4_096,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let text = text.text;
        let starts = ["http://", "https://", "/", "{path}"];
        if !starts.iter().any(|start| text.starts_with(start)) {
            return Err(Wrong::help("start with https://, http:// or `/`"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Wrong::help("write other characters percent-encoded"));
        }
        let mut rest = text;
        while let Some((_, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else {
                return Err(Wrong::help(
                    "`{` has no `}`; a brace of its own is written %7B",
                ));
            };
            if !PLACEHOLDERS.contains(&name) {
                let near = nearest(name, PLACEHOLDERS).unwrap_or("path");
                return Err(Wrong::help(format!(
                    "there are `{{host}}` and `{{path}}`; did you mean `{{{near}}}`?"
                )));
            }
            rest = behind;
        }
        Ok(text.to_owned())
    })
}

/// A media type.
pub(crate) fn content_type() -> Scalar<String> {
    let shape = shape::Scalar::Text {
        what: "a media type such as text/html",
        pattern: "^[!-~]+/[ -~]+$",
        max: 256,
    };
    Scalar::new(shape, String::new(), |text, _| {
        let token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        let (essence, _) = text.text.split_once(';').unwrap_or((text.text, ""));
        let good = essence
            .trim_end()
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && token(sub));
        let printable = text
            .text
            .bytes()
            .all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if good && printable {
            Ok(text.text.to_owned())
        } else {
            Err(Wrong::plain())
        }
    })
}

/// A variable a rule shall not look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTarget {
    /// Rule id.
    pub rule: u32,
    /// `ARGS:comment`.
    pub target: String,
}

/// `RULE:VARIABLE` or `RULE:VARIABLE:NAME`.
pub(crate) fn rule_target() -> Scalar<RuleTarget> {
    let shape = shape::Scalar::Text {
        what: "a rule and a variable, such as 942100:ARGS:comment",
        pattern: "^[0-9]+:[A-Z_]+(:[^ ]+)?$",
        max: 512,
    };
    let blank = RuleTarget {
        rule: 0,
        target: String::new(),
    };
    Scalar::new(shape, blank, |text, _| {
        let (rule, target) = text.text.split_once(':').ok_or_else(|| {
            Wrong::help("to switch the whole rule off, name it in `exclude_rules`")
        })?;
        let rule = rule
            .parse::<u32>()
            .ok()
            .filter(|rule| (1..=2_147_483_647).contains(rule))
            .ok_or_else(Wrong::plain)?;
        let (variable, name) = target
            .split_once(':')
            .map_or((target, None), |(variable, name)| (variable, Some(name)));
        if variable.is_empty()
            || !variable
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        {
            return Err(Wrong::help(
                "a variable is in capitals, such as ARGS, REQUEST_COOKIES or REQUEST_HEADERS",
            ));
        }
        if name.is_some_and(|name| {
            name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control())
        }) {
            return Err(Wrong::help("the name behind the variable has no spaces"));
        }
        Ok(RuleTarget {
            rule,
            target: target.to_owned(),
        })
    })
}
