//! The definition as JSON Schema (draft 2020-12), for editors and for checks before a roll-out.

use crate::kind::{NAME_PATTERN, Section as _};
use crate::model::Settings;
use crate::shape::{Field, Presence, Scalar, Section, Shape};
use serde_json::{Map, Value, json};

/// The JSON Schema of the settings file, keys in alphabetical order.
#[must_use]
pub fn schema() -> Value {
    let mut defs = Map::new();
    let mut root = section(&Settings::shape(), &mut defs);
    if let Value::Object(root) = &mut root {
        root.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert("title".to_owned(), json!("Aegis settings"));
        root.insert("$defs".to_owned(), Value::Object(defs));
    }
    sorted(root)
}

fn section(of: &Section, defs: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in &of.fields {
        if matches!(field.presence, Presence::Required(_)) {
            required.push(field.key);
        }
        properties.insert(field.key.to_owned(), property(field, defs));
    }
    let mut out = json!({
        "type": "object",
        "description": of.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        add(&mut out, "required", json!(required));
    }
    out
}

fn property(field: &Field, defs: &mut Map<String, Value>) -> Value {
    let mut out = shape(&field.shape, defs);
    let description = match &field.shape {
        Shape::Section(_) => field.doc.to_owned(),
        shape => format!("{} ({})", field.doc, shape.expected()),
    };
    add(&mut out, "description", json!(description));
    if let Presence::Default(text) = field.presence {
        add(&mut out, "default", default(text, &field.shape));
    }
    if field.restart == Some(true) {
        add(&mut out, "x-needs-restart", json!(true));
    } else if field.restart == Some(false) {
        add(&mut out, "x-needs-restart", json!(false));
    }
    out
}

fn shape(of: &Shape, defs: &mut Map<String, Value>) -> Value {
    match of {
        Shape::Scalar(of) => scalar(of),
        Shape::List { item, min, max, .. } => {
            let items = shape(item, defs);
            json!({ "type": "array", "items": items, "minItems": min, "maxItems": max })
        }
        Shape::Map { item, max, off, .. } => {
            let mut item = shape(item, defs);
            if *off {
                item = json!({ "anyOf": [{ "const": "off" }, item] });
            }
            json!({
                "type": "object",
                "additionalProperties": item,
                "maxProperties": max,
                "propertyNames": { "pattern": NAME_PATTERN, "not": { "const": "off" } },
            })
        }
        Shape::Section(of) => reference(of, defs),
        Shape::Overlay(of) => {
            let keys = reference(of, defs);
            json!({ "anyOf": [{ "const": "off" }, { "type": "string", "pattern": NAME_PATTERN }, keys] })
        }
    }
}

fn reference(of: &Section, defs: &mut Map<String, Value>) -> Value {
    if !defs.contains_key(of.name) {
        let of_section = section(of, defs);
        defs.insert(of.name.to_owned(), of_section);
    }
    json!({ "$ref": format!("#/$defs/{}", of.name) })
}

fn scalar(of: &Scalar) -> Value {
    match *of {
        Scalar::Flag => json!({ "type": "boolean" }),
        Scalar::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Scalar::Statuses => json!({
            "type": ["integer", "string"],
            "pattern": "^[1-5]([0-9]{2}|xx)$|^[1-5][0-9]{2} *- *[1-5][0-9]{2}$",
            "minimum": 100,
            "maximum": 599,
        }),
        // Bounds of what has a unit cannot be said to a validator; the description says them.
        Scalar::Size { min, max } | Scalar::Amount { min, max } => json!({
            "type": ["integer", "string"],
            "pattern": "^[0-9]+ *(KiB|MiB|GiB|TiB)?$",
            "minimum": min,
            "maximum": max,
        }),
        Scalar::Time { min, .. } => {
            let mut out = json!({ "type": "string", "pattern": "^(0|[0-9]+ *(ms|s|m|h|d))$" });
            if min.is_zero() {
                // A bare 0 needs no unit.
                add(&mut out, "type", json!(["integer", "string"]));
                add(&mut out, "maximum", json!(0));
                add(&mut out, "minimum", json!(0));
            }
            out
        }
        Scalar::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Scalar::Among(numbers) => json!({ "type": "integer", "enum": numbers }),
        Scalar::Choice(names) => {
            let names: Vec<Value> = names
                .iter()
                .map(|(name, doc)| json!({ "const": name, "description": doc }))
                .collect();
            json!({ "type": "string", "oneOf": names })
        }
        Scalar::Text {
            pattern: "", max, ..
        } => json!({ "type": "string", "maxLength": max }),
        Scalar::Text { pattern, max, .. } => {
            json!({ "type": "string", "pattern": pattern, "maxLength": max })
        }
    }
}

/// A default as JSON.
fn default(text: &str, shape: &Shape) -> Value {
    let number = matches!(
        shape,
        Shape::Scalar(Scalar::Whole { .. } | Scalar::Amount { .. } | Scalar::Among(_))
    );
    match text {
        "[]" => json!([]),
        "{}" => json!({}),
        "true" => json!(true),
        "false" => json!(false),
        text if text.starts_with('[') => crate::node::items(text).collect(),
        text => match text.parse::<u64>() {
            Ok(value) if number => json!(value),
            _ if matches!(shape, Shape::Scalar(Scalar::Share)) => text
                .parse::<f64>()
                .map_or(Value::Null, |share| json!(share)),
            _ => json!(text.trim_matches('"')),
        },
    }
}

fn add(to: &mut Value, key: &str, value: Value) {
    if let Value::Object(to) = to {
        to.insert(key.to_owned(), value);
    }
}

/// Keys in alphabetical order, however `serde_json` was built.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
