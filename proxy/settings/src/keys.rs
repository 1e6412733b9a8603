//! The list of keys, and which of them a change needs a restart for.

use crate::kind::Section as _;
use crate::model::Settings;
use crate::shape::{Presence, Section, Shape};
use serde::Serialize;

/// One key of the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Path in the schema: `sites[].routes[].waf.mode`, `pools.*.servers`.
    pub path: String,
    /// What is expected there, with its bounds.
    #[serde(rename = "type")]
    pub expected: String,
    /// What stands for it when it is not there; `None` = nothing does, or it must be there.
    pub default: Option<String>,
    /// Whether it must be there.
    pub required: bool,
    /// What it does.
    pub doc: String,
    /// Whether a change is refused until a restart.
    pub needs_restart: bool,
}

/// Every key that holds a value, in order of the definition. Keys that only hold other keys are not listed.
#[must_use]
pub fn keys() -> Vec<KeyInfo> {
    let mut out = Vec::new();
    section(&Settings::shape(), "", false, &mut out);
    out
}

fn section(of: &Section, path: &str, restart: bool, out: &mut Vec<KeyInfo>) {
    for field in &of.fields {
        let path = if path.is_empty() {
            field.key.to_owned()
        } else {
            format!("{path}.{}", field.key)
        };
        let restart = field.restart.unwrap_or(restart);
        if let Some((below, path)) = below(&field.shape, &path) {
            section(below, &path, restart, out);
            continue;
        }
        let default = match field.presence {
            Presence::Default(text) => Some(text.trim_matches('"').to_owned()),
            Presence::Computed { how, .. } => Some(how.to_owned()),
            Presence::Optional(_) | Presence::Required(_) => None,
        };
        out.push(KeyInfo {
            path,
            expected: field.shape.expected(),
            default,
            required: matches!(field.presence, Presence::Required(_)),
            doc: field.doc.to_owned(),
            needs_restart: restart,
        });
    }
}

/// The keys below, and their path.
fn below<'a>(shape: &'a Shape, path: &str) -> Option<(&'a Section, String)> {
    match shape {
        Shape::Scalar(_) => None,
        Shape::List { item, .. } => below(item, &format!("{path}[]")),
        Shape::Map { item, .. } => below(item, &format!("{path}.*")),
        Shape::Section(section) | Shape::Overlay(section) => Some((section, path.to_owned())),
    }
}

/// The keys that differ and cannot change while the node runs.
#[must_use]
pub fn restart_diff(old: &Settings, new: &Settings) -> Vec<String> {
    let mut out = Vec::new();
    old.restarts(new, "", false, &mut out);
    out
}
