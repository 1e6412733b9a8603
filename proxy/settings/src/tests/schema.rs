//! The schema takes what the reader takes. Patterns are left to editors; everything else is judged here.

use super::minimal;
use crate::context::Context;
use crate::node::{Node, Value as Written};
use crate::{example_yaml, schema};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// YAML 1.2 as JSON, as an editor reads it.
fn json_of(node: &Node) -> Value {
    match &node.value {
        Written::Null | Written::Refused => Value::Null,
        Written::Text { text, plain: true } => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => text
                .parse::<u64>()
                .map(|number| json!(number))
                .or_else(|_| text.parse::<f64>().map(|number| json!(number)))
                .unwrap_or_else(|_| json!(text)),
        },
        Written::Text { text, .. } => json!(text),
        Written::List(items) => items.iter().map(json_of).collect(),
        Written::Map(entries) => {
            let entries = entries
                .iter()
                .map(|entry| (entry.key.clone(), json_of(&entry.node)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// Whether a schema takes a value; the keywords are those [`schema`] prints.
fn takes(root: &Value, schema: &Value, value: &Value) -> bool {
    let all = |list: &Value, judge: &dyn Fn(&Value) -> bool| {
        list.as_array().is_some_and(|list| list.iter().any(judge))
    };
    let entries = schema.as_object().expect("a schema");
    entries
        .iter()
        .all(|(keyword, says)| match keyword.as_str() {
            "$ref" => {
                let name = says.as_str().expect("a name").trim_start_matches("#/");
                let found = name
                    .split('/')
                    .fold(root, |schema, part| schema.get(part).expect("a definition"));
                takes(root, found, value)
            }
            "type" => {
                let is = |name: &Value| match name.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("integer") => value.is_u64(),
                    Some("number") => value.is_number(),
                    Some("boolean") => value.is_boolean(),
                    other => panic!("type {other:?}"),
                };
                if says.is_array() {
                    all(says, &is)
                } else {
                    is(says)
                }
            }
            "enum" => all(says, &|one| one == value),
            "const" => says == value,
            "not" => !takes(root, says, value),
            "oneOf" | "anyOf" => all(says, &|schema| takes(root, schema, value)),
            "minimum" => value
                .as_u64()
                .is_none_or(|number| Some(number) >= says.as_u64()),
            "maximum" => value
                .as_u64()
                .is_none_or(|number| Some(number) <= says.as_u64()),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| Some(text.len() as u64) <= says.as_u64()),
            "minItems" => value
                .as_array()
                .is_none_or(|list| Some(list.len() as u64) >= says.as_u64()),
            "maxItems" => value
                .as_array()
                .is_none_or(|list| Some(list.len() as u64) <= says.as_u64()),
            "maxProperties" => value
                .as_object()
                .is_none_or(|map| Some(map.len() as u64) <= says.as_u64()),
            "items" => value
                .as_array()
                .is_none_or(|list| list.iter().all(|item| takes(root, says, item))),
            "required" => {
                let there = |key: &Value| value.get(key.as_str().unwrap_or_default()).is_some();
                says.as_array().is_some_and(|keys| keys.iter().all(there))
            }
            "propertyNames" => value
                .as_object()
                .is_none_or(|map| map.keys().all(|key| takes(root, says, &json!(key)))),
            "properties" => value.as_object().is_none_or(|map| {
                map.iter().all(|(key, value)| {
                    says.get(key)
                        .is_none_or(|schema| takes(root, schema, value))
                })
            }),
            "additionalProperties" => value.as_object().is_none_or(|map| {
                let others = map.iter().filter(|(key, _)| {
                    schema
                        .get("properties")
                        .is_none_or(|known| known.get(key.as_str()).is_none())
                });
                let mut others = others.map(|(_, value)| value);
                others.all(|value| says.is_object() && takes(root, says, value))
            }),
            "pattern" | "description" | "default" | "title" | "$schema" | "$defs"
            | "x-needs-restart" => true,
            other => panic!("the schema has a keyword this test does not know: {other}"),
        })
}

fn schema_takes(text: &str) -> bool {
    let moved = BTreeMap::new();
    let mut context = Context::new("aegis.yaml", Path::new("/"), &moved);
    let root = crate::yaml::read(text, &mut context).expect("YAML");
    let schema = schema();
    takes(&schema, &schema, &json_of(&root))
}

#[test]
fn the_schema_takes_the_example_and_the_smallest_settings() {
    assert!(schema_takes(&example_yaml()));
    assert!(schema_takes(&minimal("")));
    assert!(schema_takes(&minimal(
        "node: { cache: { memory: 1048576 }, shutdown: { grace: 0 } }"
    )));
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for rest in [
        "nodes: {}",
        "node: { workers: 1025 }",
        "node: { workers: \"2\" }",
        "node: { log: { level: loud } }",
        "node: { shutdown: { grace: 5 } }",
        "node: { cache: { memory: 1 } }",
        "certificates: [{ cert: a.pem }]",
        "pools: { off: { servers: [\"a:1\"] } }",
        "pools: { a: { servers: [] } }",
        "    waf: [strict]",
        "    waf: { mode: loud }",
        "    cache: { enabled: \"true\" }",
        "    routes: [{ respond: {} }]",
        "    routes: [{ match: { path: /a }, redirect: { to: /b, status: 300 } }]",
    ] {
        let text = minimal(rest);
        assert!(super::parse(&text).result.is_err(), "{rest}");
        assert!(!schema_takes(&text), "{rest}");
    }
}

#[test]
fn every_key_has_a_description_in_the_schema() {
    fn walk(schema: &Value) {
        match schema {
            Value::Object(map) => {
                if let Some(Value::Object(properties)) = map.get("properties") {
                    for (key, property) in properties {
                        assert!(property.get("description").is_some(), "{key}");
                    }
                }
                map.values().for_each(walk);
            }
            Value::Array(items) => items.iter().for_each(walk),
            _ => {}
        }
    }
    walk(&schema());
}
