//! The wire format of header lists: `u32` count, then per pair two `u32` lengths, then name and value, each followed
//! by a zero byte; all little endian.

use crate::limits::{FIELDS_BYTES_MAX, FIELDS_MAX};
use crate::spec::Fields;
use bytes::Bytes;

/// Why bytes of a module are no list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PairsError {
    /// Lengths that do not add up.
    Malformed,
    /// More fields or bytes than a list may have.
    TooMany,
}

/// Bytes the list takes.
pub(crate) fn size(fields: &[(Bytes, Bytes)]) -> usize {
    fields
        .iter()
        .fold(4, |sum, (name, value)| sum + 10 + name.len() + value.len())
}

/// Writes the list; `false` if `out` is not exactly its size.
pub(crate) fn write(fields: &[(Bytes, Bytes)], out: &mut [u8]) -> bool {
    fn put<'a>(out: &'a mut [u8], bytes: &[u8]) -> Option<&'a mut [u8]> {
        let (now, later) = out.split_at_mut_checked(bytes.len())?;
        now.copy_from_slice(bytes);
        Some(later)
    }
    fn all(fields: &[(Bytes, Bytes)], mut out: &mut [u8]) -> Option<bool> {
        out = put(out, &u32::try_from(fields.len()).ok()?.to_le_bytes())?;
        for (name, value) in fields {
            out = put(out, &u32::try_from(name.len()).ok()?.to_le_bytes())?;
            out = put(out, &u32::try_from(value.len()).ok()?.to_le_bytes())?;
        }
        for (name, value) in fields {
            out = put(out, name)?;
            out = put(out, &[0])?;
            out = put(out, value)?;
            out = put(out, &[0])?;
        }
        Some(out.is_empty())
    }
    all(fields, out).unwrap_or(false)
}

/// Reads a list made by a module, which must end where its last field does. No bytes at all are an empty list.
pub(crate) fn parse(bytes: &[u8]) -> Result<Fields, PairsError> {
    if bytes.is_empty() {
        return Ok(Fields::new());
    }
    if bytes.len() > FIELDS_BYTES_MAX {
        return Err(PairsError::TooMany);
    }
    let all = Bytes::copy_from_slice(bytes);
    let word = |at: usize| -> Result<usize, PairsError> {
        let bytes = all.get(at..at + 4).ok_or(PairsError::Malformed)?;
        let word = <[u8; 4]>::try_from(bytes).map_err(|_| PairsError::Malformed)?;
        usize::try_from(u32::from_le_bytes(word)).map_err(|_| PairsError::Malformed)
    };
    let count = word(0)?;
    if count > FIELDS_MAX {
        return Err(PairsError::TooMany);
    }
    let mut at = 4 + 8 * count;
    let mut take = |len: usize| -> Result<Bytes, PairsError> {
        let end = at.checked_add(len).ok_or(PairsError::Malformed)?;
        // The zero byte after it belongs to it.
        if all.get(end) != Some(&0) {
            return Err(PairsError::Malformed);
        }
        let piece = all.slice(at..end);
        at = end + 1;
        Ok(piece)
    };
    let mut fields = Fields::with_capacity(count);
    for index in 0..count {
        let name = take(word(4 + 8 * index)?)?;
        let value = take(word(8 + 8 * index)?)?;
        fields.push((name, value));
    }
    if at != all.len() {
        return Err(PairsError::Malformed);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> Fields {
        pairs
            .iter()
            .map(|(n, v)| {
                (
                    Bytes::from_static(n.as_bytes()),
                    Bytes::from_static(v.as_bytes()),
                )
            })
            .collect()
    }

    fn bytes(fields: &Fields) -> Vec<u8> {
        let mut out = vec![0; size(fields)];
        assert!(write(fields, &mut out));
        out
    }

    #[test]
    fn a_list_survives_the_way_there_and_back() {
        for list in [
            fields(&[]),
            fields(&[("a", "")]),
            fields(&[(":path", "/"), ("x", "y z"), ("x", "2")]),
        ] {
            assert_eq!(parse(&bytes(&list)), Ok(list));
        }
        assert_eq!(parse(b""), Ok(Fields::new()));
        assert!(!write(&fields(&[("a", "b")]), &mut [0; 15]));
        assert!(!write(&fields(&[("a", "b")]), &mut [0; 17]));
    }

    #[test]
    fn every_cut_and_every_wrong_length_is_refused() {
        let good = bytes(&fields(&[("name", "value"), ("n", "v")]));
        for cut in 1..good.len() {
            assert!(parse(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 4..20 {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            assert!(parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn bytes_that_are_read_as_a_list_are_what_that_list_is_written_as() {
        let good = bytes(&fields(&[("a", "1"), ("bc", ""), ("", "x")]));
        assert_eq!(
            parse(&[&good[..], b"\0"].concat()),
            Err(PairsError::Malformed)
        );
        let (mut seed, mut read) = (0x9e37_79b9_7f4a_7c15_u64, 0);
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).unwrap_or_default() % below
        };
        for _ in 0..50_000 {
            let mut hostile = good.clone();
            for _ in 0..=random(3) {
                let at = random(hostile.len());
                hostile[at] = [0, 1, 2, 3, 0xff][random(5)];
            }
            hostile.truncate(hostile.len() - random(2));
            if let Ok(list) = parse(&hostile) {
                read += 1;
                if !(list.is_empty() && hostile.is_empty()) {
                    assert_eq!(bytes(&list), hostile);
                }
            }
        }
        assert!(read > 1000, "{read} lists were read");
    }

    #[test]
    fn lists_are_bounded() {
        let most = vec![(Bytes::from_static(b"n"), Bytes::new()); FIELDS_MAX];
        assert_eq!(parse(&bytes(&most)).map(|list| list.len()), Ok(FIELDS_MAX));
        let more = vec![(Bytes::from_static(b"n"), Bytes::new()); FIELDS_MAX + 1];
        assert_eq!(parse(&bytes(&more)), Err(PairsError::TooMany));
        let long = vec![(
            Bytes::from_static(b"n"),
            Bytes::from(vec![b'v'; FIELDS_BYTES_MAX]),
        )];
        assert_eq!(parse(&bytes(&long)), Err(PairsError::TooMany));
        assert_eq!(parse(&u32::MAX.to_le_bytes()), Err(PairsError::TooMany));
    }
}
