//! Every bound in the definition: good at the limit, refused one past it.

use super::{minimal, parse};
use crate::context::Context;
use crate::kind::Section as _;
use crate::limits::{DEPTH_MAX, PROBLEMS_MAX, SOCKET_PATH_MAX, WAF_COMPILED_MAX};
use crate::model::Settings;
use crate::node::{Entry, Node, Place, Value};
use crate::shape::{Scalar, Section, Shape};
use crate::{example_yaml, render};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

fn text(text: impl Into<String>) -> Node {
    Node {
        place: Place::default(),
        value: Value::Text {
            text: text.into(),
            plain: true,
        },
    }
}

fn map(entries: Vec<(String, Node)>) -> Node {
    let entry = |(key, node)| Entry {
        key,
        place: Place::default(),
        node,
    };
    Node {
        place: Place::default(),
        value: Value::Map(entries.into_iter().map(entry).collect()),
    }
}

fn list(items: Vec<Node>) -> Node {
    Node {
        place: Place::default(),
        value: Value::List(items),
    }
}

/// The example as a tree.
fn example() -> Node {
    let moved = BTreeMap::new();
    let mut context = Context::new("example", Path::new("/"), &moved);
    crate::yaml::read(&example_yaml(), &mut context).expect("YAML")
}

/// The node under a path of keys, `*` (the first name) and `[]` (the first element that has the next key, or the
/// first), made where it is not there.
fn at<'a>(node: &'a mut Node, path: &[&str]) -> &'a mut Node {
    let Some((first, rest)) = path.split_first() else {
        return node;
    };
    if *first == "[]" {
        let Value::List(items) = &mut node.value else {
            panic!("{path:?}: no list")
        };
        let has = |item: &Node| rest.first().is_none_or(|key| item.get(key).is_some());
        let index = items.iter().position(has).unwrap_or(0);
        return at(&mut items[index], rest);
    }
    if !matches!(node.value, Value::Map(_)) {
        // The name of a profile stands there.
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        unreachable!("made above")
    };
    if *first == "*" {
        if entries.is_empty() {
            // The smallest limit.
            let policy = [("limit", "1"), ("window", "1s")];
            entries.push(Entry {
                key: "one".to_owned(),
                place: Place::default(),
                node: map(policy
                    .map(|(key, value)| (key.to_owned(), text(value)))
                    .into()),
            });
        }
        return at(&mut entries[0].node, rest);
    }
    let index = entries
        .iter()
        .position(|entry| entry.key == *first)
        .unwrap_or_else(|| {
            entries.push(Entry {
                key: (*first).to_owned(),
                place: Place::default(),
                node: text(""),
            });
            entries.len() - 1
        });
    at(&mut entries[index].node, rest)
}

/// What reading says when `value` stands at `path`.
fn said(path: &[&str], value: Node) -> Vec<String> {
    let mut root = example();
    *at(&mut root, path) = value;
    let moved = BTreeMap::new();
    let mut context = Context::new("example", Path::new("/"), &moved);
    let _ = Settings::parse(&root, "", &mut context);
    context
        .finish()
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

fn good(path: &[&str], value: Node) {
    let said = said(path, value);
    assert!(said.is_empty(), "{path:?}: {said:?}");
}

fn refused(path: &[&str], value: Node) {
    let shown = format!("{value:?}").chars().take(100).collect::<String>();
    let said = said(path, value);
    assert_eq!(said.len(), 1, "{path:?} {shown}: {said:?}");
}

/// A good element of a list of scalars.
fn element(path: &[&str], scalar: &Scalar) -> Node {
    let key = path.last().copied().unwrap_or_default();
    text(match (key, scalar) {
        ("servers", _) => "a:1",
        ("hosts", _) => "a.example",
        ("methods", _) => "GET",
        ("key", _) => "address",
        ("statuses", _) => "404",
        ("exclude_targets", _) => "1:ARGS",
        ("trusted_proxies" | "never_ban", _) => "10.0.0.1",
        (_, Scalar::Whole { .. }) => "1",
        (_, Scalar::Choice([(name, _), ..])) => name,
        _ => "name",
    })
}

fn check_scalar(path: &[&str], scalar: &Scalar, checked: &mut usize) {
    *checked += 1;
    match *scalar {
        Scalar::Whole { min, max } => {
            good(path, text(min.to_string()));
            good(path, text(max.to_string()));
            refused(path, text((max + 1).to_string()));
            refused(
                path,
                text(
                    min.checked_sub(1)
                        .map_or("-1".to_owned(), |below| below.to_string()),
                ),
            );
        }
        Scalar::Statuses => {
            for status in ["100", "599", "4xx", "500-599"] {
                good(path, text(status));
            }
            for status in [
                "99", "600", "6xx", "xx", "4x", "404-", "404-403", "4xx-5xx", "+404",
            ] {
                refused(path, text(status));
            }
        }
        Scalar::Size { min, max } | Scalar::Amount { min, max } => {
            good(path, text(min.to_string()));
            good(path, text(max.to_string()));
            refused(path, text((max + 1).to_string()));
            refused(
                path,
                text(
                    min.checked_sub(1)
                        .map_or("-1".to_owned(), |below| below.to_string()),
                ),
            );
        }
        Scalar::Time { min, max } => {
            let millis = |time: Duration| time.as_millis();
            good(path, text(format!("{}ms", millis(min))));
            good(path, text(format!("{}ms", millis(max))));
            refused(path, text(format!("{}ms", millis(max) + 1)));
            refused(
                path,
                text(
                    millis(min)
                        .checked_sub(1)
                        .map_or("-1ms".to_owned(), |below| format!("{below}ms")),
                ),
            );
        }
        Scalar::Share => {
            for share in ["0", "1", "0.5", "0.000000001", "1.0"] {
                good(path, text(share));
            }
            for share in [
                "1.1",
                "2",
                "-0.1",
                ".5",
                "0.",
                "00.1",
                "1e-3",
                "5%",
                "nan",
                "0.0000000001",
            ] {
                refused(path, text(share));
            }
        }
        Scalar::Choice(names) => {
            names.iter().for_each(|(name, _)| good(path, text(*name)));
            refused(path, text("something"));
        }
        Scalar::Among(numbers) => {
            numbers
                .iter()
                .for_each(|number| good(path, text(number.to_string())));
            refused(path, text("1"));
        }
        Scalar::Flag => {
            good(path, text("true"));
            good(path, text("false"));
            refused(path, text("1"));
        }
        Scalar::Text { pattern, max, .. } => {
            if pattern.is_empty() {
                good(path, text("x".repeat(max)));
            }
            refused(path, text("x".repeat(max + 1)));
        }
    }
}

fn check_shape(path: &[&str], shape: &Shape, checked: &mut usize) {
    match shape {
        Shape::Scalar(scalar) => check_scalar(path, scalar, checked),
        Shape::List { item, min, max, .. } => {
            *checked += 1;
            let one = match &**item {
                Shape::Scalar(scalar) => element(path, scalar),
                _ => at(&mut example(), &[path, &["[]"]].concat()).clone(),
            };
            good(path, list(vec![one.clone(); *max]));
            refused(path, list(vec![one.clone(); *max + 1]));
            if *min > 0 {
                refused(path, list(vec![one; *min - 1]));
            }
            if let Shape::Section(section) = &**item {
                check_section(&[path, &["[]"]].concat(), section, checked);
            }
        }
        Shape::Map { item, max, .. } => {
            *checked += 1;
            let inner = [path, &["*"]].concat();
            let one = at(&mut example(), &inner).clone();
            let names = |count: usize| {
                map((0..count)
                    .map(|index| (format!("n{index}"), one.clone()))
                    .collect())
            };
            good(path, names(*max));
            refused(path, names(*max + 1));
            good(path, map(vec![("n".repeat(64), one.clone())]));
            refused(path, map(vec![("n".repeat(65), one.clone())]));
            if let Shape::Section(section) = &**item {
                check_section(&inner, section, checked);
            }
        }
        Shape::Section(section) | Shape::Overlay(section) => check_section(path, section, checked),
    }
}

fn check_section(path: &[&str], section: &Section, checked: &mut usize) {
    for field in &section.fields {
        check_shape(&[path, &[field.key]].concat(), &field.shape, checked);
    }
}

#[test]
fn every_key_takes_its_bounds_and_nothing_past_them() {
    let mut checked = 0;
    check_section(&[], &Settings::shape(), &mut checked);
    assert!(checked >= crate::keys().len(), "{checked}");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let deep = |text: &str| render(&parse(text).problems, false).contains("nested deeper than 32");
    assert!(!deep(&nested(DEPTH_MAX)));
    assert!(deep(&nested(DEPTH_MAX + 1)));
}

#[test]
fn problems_are_bounded_and_the_rest_is_counted() {
    let unknown = |count: usize| {
        parse(&minimal(
            &(0..count)
                .map(|index| format!("zz{index}: 1\n"))
                .collect::<String>(),
        ))
        .problems
    };
    assert_eq!(unknown(PROBLEMS_MAX).len(), PROBLEMS_MAX);
    let problems = unknown(PROBLEMS_MAX + 5);
    assert_eq!(problems.len(), PROBLEMS_MAX + 1);
    assert!(
        problems
            .iter()
            .any(|problem| problem.message == "5 more problems are not shown")
    );
}

#[test]
fn compiled_rule_sets_are_bounded() {
    let sites = |count: usize| {
        let list = |index: usize| {
            if index == 0 {
                "[]".to_owned()
            } else {
                format!("[/{index}.conf]")
            }
        };
        let site = |index: usize| {
            format!(
                "  - {{ hosts: [h{index}], origin: http://h, waf: {{ {}: {} }} }}\n",
                // They count together.
                ["seclang_before", "seclang"][index % 2],
                list(index)
            )
        };
        // The first site of `minimal` has no list, as the first one here.
        parse(&minimal(&(0..count).map(site).collect::<String>())).problems
    };
    let said = |count: usize| {
        sites(count).iter().any(|problem| {
            problem
                .message
                .ends_with("this is the 9th list of `seclang` files")
        })
    };
    assert!(!said(WAF_COMPILED_MAX));
    assert!(said(WAF_COMPILED_MAX + 1));
}

#[test]
fn the_path_of_the_admin_socket_is_bounded() {
    let socket = |length: usize| {
        parse(&minimal(&format!(
            "node: {{ admin: {{ socket: /{} }} }}",
            "s".repeat(length - 1)
        )))
    };
    assert!(socket(SOCKET_PATH_MAX).result.is_ok());
    assert!(socket(SOCKET_PATH_MAX + 1).result.is_err());
}
