//! The data of a module as few segments, so that its memory can be mapped.
//!
//! Go's linker splits a module's data at every run of zeros: 90,000 segments, each of which costs every instance memory
//! and time, and more than a module may have together with those of a snapshot.

use std::borrow::Cow;
use wasm_encoder::{ConstExpr, DataSection, Module, RawSection, SectionId};
use wasmparser::{DataKind, Operator, Parser, Payload};

/// Two runs of data closer than this are one.
const GAP: usize = 4096;
/// Wasm's page.
const PAGE: u64 = 64 << 10;

/// The same module with its data merged. The error says what makes that impossible.
pub(super) fn merge(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let broken = |error: wasmparser::BinaryReaderError| error.to_string();
    let mut sections = Vec::new();
    let mut memory = None;
    let mut segments = Vec::new();
    let mut counted = false;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(broken)?;
        if let Some((id, range)) = payload.as_section()
            && id != u8::from(SectionId::DataCount)
        {
            let data = wasm.get(range).ok_or("a section ends behind the module")?;
            sections.push(RawSection { id, data });
        }
        match payload {
            Payload::MemorySection(memories) => {
                for of in memories {
                    let pages = of.map_err(broken)?.initial;
                    if memory.replace(pages.saturating_mul(PAGE)).is_some() {
                        return Err("it has several memories".into());
                    }
                }
            }
            Payload::DataCountSection { .. } => counted = true,
            // Only a module that counts its segments may name them in its code.
            Payload::CodeSectionEntry(body) if counted => {
                let mut operators = body.get_operators_reader().map_err(broken)?;
                while !operators.eof() {
                    if let Operator::MemoryInit { .. } | Operator::DataDrop { .. } =
                        operators.read().map_err(broken)?
                    {
                        return Err("it copies its data itself (`memory.init`, `data.drop`)".into());
                    }
                }
            }
            Payload::DataSection(all) => {
                for segment in all {
                    let segment = segment.map_err(broken)?;
                    if let DataKind::Active { offset_expr, .. } = segment.kind {
                        segments.push((offset(&offset_expr)?, segment.data));
                    }
                }
            }
            _ => {}
        }
    }
    let max = usize::try_from(memory.unwrap_or_default()).unwrap_or(usize::MAX);
    let image = Image::of(segments, max)?;
    let mut out = Module::new();
    for section in sections {
        if section.id == u8::from(SectionId::Data) {
            out.section(&image.section()?);
        } else {
            out.section(&section);
        }
    }
    Ok(out.finish())
}

fn offset(expression: &wasmparser::ConstExpr<'_>) -> Result<usize, String> {
    let mut operators = expression.get_operators_reader();
    let first = operators.read().map_err(|error| error.to_string())?;
    let end = operators.read().map_err(|error| error.to_string())?;
    match (first, end) {
        (Operator::I32Const { value }, Operator::End) => {
            usize::try_from(value.cast_unsigned()).map_err(|error| error.to_string())
        }
        _ => Err("its data has no fixed place in memory".into()),
    }
}

/// What memory holds after all segments were written to it.
#[derive(Default)]
struct Image<'a> {
    runs: Vec<(usize, Cow<'a, [u8]>)>,
}

impl<'a> Image<'a> {
    fn of(mut segments: Vec<(usize, &'a [u8])>, max: usize) -> Result<Self, String> {
        segments.sort_by_key(|(at, _)| *at);
        let mut image = Self::default();
        for (at, data) in segments {
            image.put(at, data, max)?;
        }
        Ok(image)
    }

    fn put(&mut self, at: usize, data: &'a [u8], max: usize) -> Result<(), String> {
        if data.is_empty() {
            return Ok(());
        }
        let end = at.checked_add(data.len()).filter(|end| *end <= max);
        if end.is_none() {
            return Err("its data does not fit its memory".into());
        }
        let Some((start, last)) = self.runs.last_mut() else {
            self.runs.push((at, Cow::Borrowed(data)));
            return Ok(());
        };
        let last_end = start.saturating_add(last.len());
        match at.checked_sub(last_end) {
            Some(gap) if gap < GAP => {
                let last = last.to_mut();
                last.resize(last.len().saturating_add(gap), 0);
                last.extend_from_slice(data);
                Ok(())
            }
            Some(_) => {
                self.runs.push((at, Cow::Borrowed(data)));
                Ok(())
            }
            // No compiler writes such a thing; which of the two wins would have to be worked out here.
            None => Err("its data is written over by other data".into()),
        }
    }

    fn section(&self) -> Result<DataSection, String> {
        let mut section = DataSection::new();
        for (at, data) in &self.runs {
            let at = u32::try_from(*at).map_err(|error| error.to_string())?;
            section.active(
                0,
                &ConstExpr::i32_const(at.cast_signed()),
                data.iter().copied(),
            );
        }
        Ok(section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(wat: &str) -> Result<Vec<(i32, Vec<u8>)>, String> {
        let wasm = wat::parse_str(wat).expect("wat");
        let out = merge(&wasm)?;
        wasmparser::Validator::new()
            .validate_all(&out)
            .expect("valid");
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(&out) {
            if let Payload::DataSection(segments) = payload.expect("parses") {
                for segment in segments {
                    let segment = segment.expect("parses");
                    let DataKind::Active { offset_expr, .. } = segment.kind else {
                        panic!("a passive segment is left");
                    };
                    let at = offset(&offset_expr).expect("a place");
                    found.push((i32::try_from(at).expect("small"), segment.data.to_vec()));
                }
            }
        }
        Ok(found)
    }

    #[test]
    fn neighbours_become_one_segment_and_far_ones_stay_apart() {
        let wat = r#"(module (memory 1)
            (data (i32.const 12) "cd") (data (i32.const 8) "ab") (data "unused") (data (i32.const 9000) "ef"))"#;
        let expected = vec![(8, b"ab\0\0cd".to_vec()), (9000, b"ef".to_vec())];
        assert_eq!(merged(wat), Ok(expected));
    }

    #[test]
    fn what_cannot_be_merged_is_said() {
        for (wat, why) in [
            (
                r#"(module (memory 1) (data (i32.const 8) "ab") (data (i32.const 9) "c"))"#,
                "over",
            ),
            (
                r#"(module (memory 1) (data (i32.const 65535) "ab"))"#,
                "fit",
            ),
            (
                r#"(module (memory 1) (global i32 (i32.const 3)) (data (global.get 0) "ab"))"#,
                "place",
            ),
            (
                r#"(module (memory 1) (data "ab")
                    (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 2))))"#,
                "memory.init",
            ),
            (r#"(module (memory 1) (memory 1))"#, "several"),
        ] {
            let said = merged(wat).expect_err(wat);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_module_that_is_cut_is_no_panic() {
        let wat = r#"(module (memory 1) (func (export "f")) (data (i32.const 8) "ab") (data (i32.const 12) "cd"))"#;
        let wasm = wat::parse_str(wat).expect("wat");
        for len in 0..wasm.len() {
            drop(merge(&wasm[..len]));
        }
    }
}
