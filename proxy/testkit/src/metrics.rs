//! Reading the Prometheus text format.

use std::collections::BTreeMap;

/// Every series of one scrape: `name{labels}` → value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scrape(pub BTreeMap<String, f64>);

impl Scrape {
    /// Reads a scrape; lines it does not understand are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        Self(
            lines
                .filter_map(|l| l.rsplit_once(' '))
                .filter_map(|(k, v)| Some((k.to_owned(), v.parse().ok()?)))
                .collect(),
        )
    }

    /// Sum of all series of `name` whose labels hold every one of `labels` (`site="a"`).
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let named = self
            .0
            .iter()
            .filter(|(k, _)| k.split('{').next() == Some(name));
        named
            .filter(|(k, _)| labels.iter().all(|l| k.contains(l)))
            .map(|(_, v)| v)
            .sum()
    }

    /// Series that are higher here than in `before`, with the difference.
    #[must_use]
    pub fn risen_since(&self, before: &Self) -> Vec<(String, f64)> {
        let differences = self
            .0
            .iter()
            .map(|(k, v)| (k.clone(), v - before.0.get(k).copied().unwrap_or(0.0)));
        differences.filter(|(_, d)| *d > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Scrape;

    #[test]
    fn series_are_summed_by_name_and_label() {
        let scrape =
            Scrape::parse("# HELP a\na{x=\"1\",y=\"2\"} 3\na{x=\"1\"} 4\na{x=\"2\"} 5\nab 9\n");
        assert!((scrape.sum("a", &["x=\"1\""]) - 7.0).abs() < f64::EPSILON);
        assert!((scrape.sum("ab", &[]) - 9.0).abs() < f64::EPSILON);
    }

    #[test]
    fn only_risen_series_are_told() {
        let before = Scrape::parse("a 1\nb 2\n");
        assert_eq!(
            Scrape::parse("a 1\nb 5\nc 1\n").risen_since(&before),
            [("b".to_owned(), 3.0), ("c".to_owned(), 1.0)]
        );
    }
}
