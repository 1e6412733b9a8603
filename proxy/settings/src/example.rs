//! The commented example, printed from the definition: every key, what it does, its bounds and its default.

use crate::kind::Section as _;
use crate::model::Settings;
use crate::shape::{Field, Presence, Section, Shape};
use std::collections::HashSet;

const WIDTH: usize = 110;

const HEAD: &str = "\
# yaml-language-server: $schema=schema/aegis.schema.json
#
# Settings of Aegis: every key, what it does, what it takes, and its default.
# Printed from the definition in proxy/settings/src/model; `UPDATE=1 cargo test -p aegis-settings` prints it anew.
#
# Check a file with `aegis check -c FILE`. Keys that stand here with their default may be left out; a key behind `#`
# has no fixed default. Sizes: 4096, 64KiB, 16MiB, 1GiB. Times: 250ms, 5s, 10m, 1h, 30d. Relative paths start at the
# folder of this file. Secrets are references only: file:PATH or env:NAME. At most 1 MiB, and 64 MiB with all files.
# Where `restart` stands, a change is refused while the node runs; everything else is live within a second.
";

/// The commented example of a settings file. It passes every check but for the files it names.
#[must_use]
pub fn example_yaml() -> String {
    let mut printer = Printer {
        out: HEAD.to_owned(),
        seen: HashSet::new(),
    };
    for field in &Settings::shape().fields {
        printer.out.push('\n');
        printer.field(field, "", 0, 0, field.restart.unwrap_or(false));
    }
    printer.out
}

struct Printer {
    out: String,
    /// Keys that were explained already.
    seen: HashSet<String>,
}

impl Printer {
    /// `index` is the place in the list around it.
    fn field(&mut self, field: &Field, path: &str, indent: usize, index: usize, restart: bool) {
        let path = format!("{path}.{}", field.key);
        if self.seen.insert(path.clone()) {
            self.explain(field, indent, restart);
        }
        let key = field.key;
        match &field.shape {
            Shape::Section(section) => {
                self.out.push_str(&format!("{:indent$}{key}:\n", ""));
                self.section(section, &path, indent + 2, index, &[], restart);
            }
            Shape::Map { item, shown, .. } if matches!(**item, Shape::Section(_)) => {
                self.out
                    .push_str(&format!("{:indent$}{key}:\n{:indent$}  {shown}:\n", "", ""));
                if let Shape::Section(section) = &**item {
                    self.section(section, &path, indent + 4, index, &[], restart);
                }
            }
            Shape::List { item, shown, .. } if matches!(**item, Shape::Section(_)) => {
                self.out.push_str(&format!("{:indent$}{key}:\n", ""));
                if let Shape::Section(section) = &**item {
                    for (index, keys) in shown
                        .iter()
                        .copied()
                        .chain(shown.is_empty().then_some([].as_slice()))
                        .enumerate()
                    {
                        self.element(section, &path, indent + 2, index, keys, restart);
                    }
                }
            }
            Shape::Scalar(_) | Shape::List { .. } | Shape::Map { .. } | Shape::Overlay(_) => {
                let shown = |values: &[&'static str]| {
                    values
                        .get(index)
                        .or(values.last())
                        .copied()
                        .unwrap_or("\"\"")
                };
                let value = match field.presence {
                    Presence::Default(text) => text.to_owned(),
                    Presence::Computed { shown, .. } => format!("#{shown}"),
                    Presence::Optional(values) | Presence::Required(values) => {
                        shown(values).to_owned()
                    }
                };
                let (mark, value) = value
                    .strip_prefix('#')
                    .map_or(("", value.as_str()), |value| ("#", value));
                self.out
                    .push_str(&format!("{:indent$}{mark}{key}: {value}\n", ""));
            }
        }
    }

    fn section(
        &mut self,
        of: &Section,
        path: &str,
        indent: usize,
        index: usize,
        keys: &[&str],
        restart: bool,
    ) {
        for field in of
            .fields
            .iter()
            .filter(|field| keys.is_empty() || keys.contains(&field.key))
        {
            self.field(field, path, indent, index, field.restart.unwrap_or(restart));
        }
    }

    /// A section as an element of a list: a dash before its first key.
    fn element(
        &mut self,
        of: &Section,
        path: &str,
        indent: usize,
        index: usize,
        keys: &[&str],
        restart: bool,
    ) {
        let before = std::mem::take(&mut self.out);
        self.section(of, path, indent + 2, index, keys, restart);
        let printed = std::mem::replace(&mut self.out, before);
        let mut dashed = false;
        for line in printed.lines() {
            let text = line.trim_start();
            if dashed {
                self.out.push_str(&format!("{line}\n"));
            } else if text.starts_with('#') {
                self.out.push_str(&format!("{:indent$}{text}\n", ""));
            } else {
                self.out.push_str(&format!("{:indent$}- {text}\n", ""));
                dashed = true;
            }
        }
    }

    /// What a key does, and in brackets what it takes.
    fn explain(&mut self, field: &Field, indent: usize, restart: bool) {
        let mut takes = Vec::new();
        if !matches!(field.shape, Shape::Section(_)) {
            takes.push(field.shape.expected());
        }
        match field.presence {
            Presence::Required(_) => takes.push("required".to_owned()),
            Presence::Computed { how, .. } => takes.push(format!("default {how}")),
            Presence::Optional(_) | Presence::Default(_) => {}
        }
        // Said once, where a whole branch starts to need one, and where a key differs from its branch.
        match field.restart {
            Some(true) => takes.push("restart".to_owned()),
            Some(false) if !restart => takes.push("live".to_owned()),
            _ => {}
        }
        let takes = if takes.is_empty() {
            String::new()
        } else {
            format!(" [{}]", takes.join("; "))
        };
        let mut line = format!("{:indent$}#", "");
        let start = line.chars().count();
        let mut used = start;
        for word in format!("{}{takes}", field.doc).split_whitespace() {
            let length = word.chars().count() + 1;
            if used > start && used + length > WIDTH {
                line.push_str(&format!("\n{:indent$}#", ""));
                used = start;
            }
            line.push_str(&format!(" {word}"));
            used += length;
        }
        self.out.push_str(&line);
        self.out.push('\n');
    }
}
