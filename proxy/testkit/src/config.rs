//! The settings of an `aegis` under test: values set by path, written as JSON, which is YAML.

use serde_json::{Map, Value, json};

/// Settings to write. Starts from what every test needs; `set` changes or adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Config(Value);

impl Config {
    /// One site for every host, without WAF, before this origin; the caller adds listeners and folders.
    #[must_use]
    pub fn in_front_of(origin: &str) -> Self {
        Self(json!({
            "version": 1,
            "node": { "workers": 1 },
            "listeners": [],
            "sites": [{ "hosts": ["*"], "origin": origin, "waf": { "mode": "off" } }],
        }))
    }

    /// Sets the value at a path like `node.client.idle_timeout` or `sites[0].waf.mode`; missing maps and
    /// list items on the way are made.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) -> &mut Self {
        *self.slot(path) = value.into();
        self
    }

    /// The value at a path, if any.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        steps(path).try_fold(&self.0, |at, step| match step {
            Step::Key(key) => at.get(key),
            Step::Item(i) => at.get(i),
        })
    }

    /// Takes the value at a path away.
    pub fn remove(&mut self, path: &str) -> &mut Self {
        if let Some((parent, key)) = path.rsplit_once('.')
            && let Some(map) = self.slot(parent).as_object_mut()
        {
            map.remove(key);
        }
        self
    }

    fn slot(&mut self, path: &str) -> &mut Value {
        steps(path).fold(&mut self.0, |at, step| match step {
            Step::Key(key) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut()
                    .expect("a map")
                    .entry(key)
                    .or_insert(Value::Null)
            }
            Step::Item(i) => {
                if !at.is_array() {
                    *at = Value::Array(Vec::new());
                }
                let list = at.as_array_mut().expect("a list");
                while list.len() <= i {
                    list.push(Value::Null);
                }
                &mut list[i]
            }
        })
    }
}

/// The file's text: one key a line.
impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string_pretty(&self.0).map_err(|_| std::fmt::Error)?)
    }
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '['])
        .map(|part| match part.strip_suffix(']') {
            Some(number) => Step::Item(number.parse().expect("a number between [ and ]")),
            None => Step::Key(part),
        })
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn values_are_set_by_path_and_maps_on_the_way_are_made() {
        let mut config = Config::in_front_of("http://127.0.0.1:1");
        config
            .set("node.client.idle_timeout", "1s")
            .set("sites[0].waf.mode", "block")
            .set("listeners[1].address", "x");
        assert_eq!(config.get("node.client.idle_timeout").unwrap(), "1s");
        assert_eq!(config.get("sites[0].waf.mode").unwrap(), "block");
        assert!(config.get("listeners[0]").unwrap().is_null());
        assert!(config.remove("node.client").get("node.client").is_none());
    }
}
