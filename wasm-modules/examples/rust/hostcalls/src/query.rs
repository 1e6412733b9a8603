//! The path of a request: what to try.

/// `/t/call?pool=x` in pieces.
#[derive(Default, Clone)]
pub struct Query {
    path: String,
    query: String,
}

impl Query {
    /// From `:path`.
    pub fn parse(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            path: path.into(),
            query: query.into(),
        }
    }

    /// The path after `prefix`.
    pub fn under(&self, prefix: &str) -> Option<&str> {
        self.path.strip_prefix(prefix)
    }

    /// A parameter; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.query
            .split('&')
            .find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or("")
    }
}
