//! A list of header fields a module reads and, in the right phase, changes.
//!
//! Invariant: a change keeps the list a legal HTTP head. Names are tokens, values have no CR, LF or NUL, pseudo fields
//! are only those that were there; `host` and `:authority` stay equal.

use crate::limits::{FIELDS_BYTES_MAX, FIELDS_MAX};
use crate::spec::Fields;
use bytes::Bytes;

/// Fields in order, with pseudo fields first.
#[derive(Debug, Default)]
pub(crate) struct FieldList {
    items: Fields,
    changed: bool,
}

/// A change that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FieldError {
    /// A name or value that may not stand in an HTTP head.
    Illegal,
    /// The list would be too long.
    TooMany,
}

impl FieldList {
    pub(crate) fn new(items: Fields) -> Self {
        Self {
            items,
            changed: false,
        }
    }

    pub(crate) fn items(&self) -> &[(Bytes, Bytes)] {
        &self.items
    }

    /// The list, if it was changed since the last time.
    pub(crate) fn take_changes(&mut self) -> Option<Fields> {
        std::mem::take(&mut self.changed).then(|| self.items.clone())
    }

    /// The value; values of a repeated field are joined as RFC 9110 §5.3 allows, cookies by `; `.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Bytes> {
        let mut values = self.items.iter().filter(|(n, _)| same(n, name));
        let (_, first) = values.next()?;
        let Some((_, second)) = values.next() else {
            return Some(first.clone());
        };
        let glue: &[u8] = if same(name, b"cookie") { b"; " } else { b"," };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values.map(|(_, value)| value)) {
            joined.extend_from_slice(glue);
            joined.extend_from_slice(value);
        }
        Some(joined.into())
    }

    pub(crate) fn set_all(&mut self, fields: Fields) -> Result<(), FieldError> {
        for (name, value) in &fields {
            self.check(name, value)?;
        }
        // A list without the pseudo fields keeps those that were there: a request without a path cannot be sent.
        let kept = self
            .items
            .iter()
            .filter(|(name, _)| is_pseudo(name) && !fields.iter().any(|(n, _)| same(n, name)));
        let mut items: Fields = kept.cloned().collect();
        let (pseudo, plain): (Fields, Fields) = fields.into_iter().partition(|(n, _)| is_pseudo(n));
        items.extend(pseudo);
        items.extend(plain);
        bounded(&items)?;
        self.items = items;
        self.changed = true;
        Ok(())
    }

    pub(crate) fn add(&mut self, name: Bytes, value: Bytes) -> Result<(), FieldError> {
        if is_pseudo(&name) || same(&name, b"host") {
            return self.replace(name, value);
        }
        self.check(&name, &value)?;
        self.items.push((name, value));
        if let Err(error) = bounded(&self.items) {
            self.items.pop();
            return Err(error);
        }
        self.changed = true;
        Ok(())
    }

    pub(crate) fn replace(&mut self, name: Bytes, value: Bytes) -> Result<(), FieldError> {
        self.check(&name, &value)?;
        let there = self.items.iter().any(|(n, _)| same(n, &name));
        let bytes = crate::pairs::size(&self.items) + name.len() + 2 * value.len() + 10;
        if (!there && self.items.len() >= FIELDS_MAX) || bytes > FIELDS_BYTES_MAX {
            return Err(FieldError::TooMany);
        }
        let twin: Option<&[u8]> = match () {
            () if same(&name, b"host") => Some(b":authority"),
            () if same(&name, b":authority") => Some(b"host"),
            () => None,
        };
        if let Some((_, other)) =
            twin.and_then(|twin| self.items.iter_mut().find(|(n, _)| same(n, twin)))
        {
            *other = value.clone();
        }
        let mut rest = Some(value);
        self.items.retain_mut(|(n, v)| {
            if !same(n, &name) {
                return true;
            }
            rest.take().map(|value| *v = value).is_some()
        });
        if let Some(value) = rest {
            self.items.push((name, value));
        }
        self.changed = true;
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Result<(), FieldError> {
        if is_pseudo(name) {
            return Err(FieldError::Illegal);
        }
        let before = self.items.len();
        self.items.retain(|(n, _)| !same(n, name));
        self.changed |= self.items.len() != before;
        Ok(())
    }

    fn check(&self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let legal = match name {
            b":method" => is_token(value),
            b":status" => value.len() == 3 && value.iter().all(u8::is_ascii_digit),
            b":path" => {
                !value.is_empty()
                    && value
                        .iter()
                        .all(|b| (0x21..=0x7e).contains(b) || *b >= 0x80)
            }
            _ if is_pseudo(name) => is_value(value),
            _ => is_token(name) && is_value(value),
        };
        let known = !is_pseudo(name) || self.items.iter().any(|(n, _)| same(n, name));
        if legal && known {
            Ok(())
        } else {
            Err(FieldError::Illegal)
        }
    }
}

fn bounded(items: &[(Bytes, Bytes)]) -> Result<(), FieldError> {
    if items.len() > FIELDS_MAX || crate::pairs::size(items) > FIELDS_BYTES_MAX {
        return Err(FieldError::TooMany);
    }
    Ok(())
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn is_pseudo(name: &[u8]) -> bool {
    name.first() == Some(&b':')
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// RFC 9110 §5.5: anything but CR, LF, NUL and other controls.
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn list(pairs: &[(&'static str, &'static str)]) -> FieldList {
        FieldList::new(pairs.iter().map(|(n, v)| (b(n), b(v))).collect())
    }

    #[test]
    fn a_value_is_found_in_any_case_and_repeated_ones_are_joined() {
        let list = list(&[
            ("X-A", "1"),
            ("cookie", "a=1"),
            ("x-a", "2"),
            ("Cookie", "b=2"),
        ]);
        assert_eq!(list.get(b"x-A"), Some(b("1,2")));
        assert_eq!(list.get(b"cookie"), Some(b("a=1; b=2")));
        assert_eq!(list.get(b"none"), None);
    }

    #[test]
    fn fields_are_added_replaced_and_removed() {
        let mut list = list(&[(":path", "/"), ("a", "1"), ("b", "2"), ("A", "3")]);
        assert!(list.take_changes().is_none());
        list.replace(b("a"), b("x")).expect("legal");
        list.add(b("b"), b("4")).expect("legal");
        list.remove(b"nothing").expect("legal");
        list.add(b(":path"), b("/new")).expect("legal");
        let now = list.take_changes().expect("changed");
        assert_eq!(
            now,
            [
                (b(":path"), b("/new")),
                (b("a"), b("x")),
                (b("b"), b("2")),
                (b("b"), b("4"))
            ]
        );
        assert!(list.take_changes().is_none());
    }

    #[test]
    fn nothing_that_would_break_the_head_gets_in() {
        let mut list = list(&[(":path", "/"), (":method", "GET"), ("host", "a")]);
        for (name, value) in [
            ("a b", ""),
            ("", "x"),
            ("a", "x\r\ny: z"),
            ("a", "\0"),
            (":path", "/ HTTP/1.1"),
            (":path", ""),
            (":method", "GET /"),
            (":new", "x"),
            (":status", "200"),
        ] {
            assert_eq!(
                list.add(b(name), b(value)),
                Err(FieldError::Illegal),
                "{name:?} {value:?}"
            );
            assert_eq!(
                list.replace(b(name), b(value)),
                Err(FieldError::Illegal),
                "{name:?} {value:?}"
            );
            assert_eq!(
                list.set_all(vec![(b(name), b(value))]),
                Err(FieldError::Illegal),
                "{name:?} {value:?}"
            );
        }
        assert_eq!(list.remove(b":path"), Err(FieldError::Illegal));
        assert!(list.take_changes().is_none());
    }

    #[test]
    fn host_and_authority_stay_equal_and_a_new_list_keeps_the_request_line() {
        let mut list = list(&[
            (":path", "/"),
            (":authority", "a"),
            ("Host", "a"),
            ("x", "1"),
        ]);
        list.replace(b("host"), b("b")).expect("legal");
        assert_eq!(list.get(b":authority"), Some(b("b")));
        list.replace(b(":authority"), b("c")).expect("legal");
        assert_eq!(list.get(b"host"), Some(b("c")));
        list.set_all(vec![(b("y"), b("2")), (b(":path"), b("/n"))])
            .expect("legal");
        assert_eq!(
            list.items(),
            [
                (b(":authority"), b("c")),
                (b(":path"), b("/n")),
                (b("y"), b("2"))
            ]
        );
    }

    #[test]
    fn a_list_does_not_grow_past_its_bounds() {
        let mut list = list(&[]);
        for _ in 0..FIELDS_MAX {
            list.add(b("n"), b("v")).expect("within the bound");
        }
        assert_eq!(list.add(b("n"), b("v")), Err(FieldError::TooMany));
        assert_eq!(list.items().len(), FIELDS_MAX);
    }
}
