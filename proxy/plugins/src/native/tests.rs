use super::pattern::WORK_MAX;
use super::*;

struct Bench {
    patterns: Patterns,
    operators: Operators,
}

impl Bench {
    fn new() -> Self {
        Self {
            patterns: Patterns::default(),
            operators: Operators::default(),
        }
    }

    fn compile(&mut self, text: bool, source: &str) -> Result<u32, Refused> {
        let source = source.as_bytes();
        self.operators.compile(&self.patterns, text, source)
    }

    fn search<const N: usize>(&mut self, id: u32, value: &[u8]) -> Option<Vec<Option<Group>>> {
        let mut groups = [None; N];
        let found = self
            .operators
            .search(&self.patterns, id, value, &mut groups);
        found.expect("a pattern").then(|| groups.to_vec())
    }
}

#[test]
fn a_pattern_has_one_number_and_is_compiled_once_for_all_instances() {
    let mut bench = Bench::new();
    let first = bench.compile(true, "a(b)?c");
    assert_eq!(first, bench.compile(true, "a(b)?c"));
    assert_ne!(first, bench.compile(false, "a(b)?c"));
    let mut other = Operators::default();
    assert_eq!(first, other.compile(&bench.patterns, true, b"a(b)?c"));
    assert_eq!(bench.patterns.table.lock().all.len(), 2);
    // Another instance knows only what it compiled itself.
    assert_eq!(other.search(&bench.patterns, 1, b"abc", &mut []), None);
    assert_eq!(other.search(&bench.patterns, 7, b"abc", &mut []), None);
}

#[test]
fn a_copy_of_a_snapshot_knows_the_snapshots_patterns_and_those_it_compiles_itself() {
    let mut bench = Bench::new();
    let first = bench.compile(true, "a+").expect("compiles");
    let mut copy = Operators::of_copy(bench.patterns.all());
    let second = copy
        .compile(&bench.patterns, true, b"b+")
        .expect("compiles");
    let third = bench.compile(true, "c+").expect("compiles");
    let mut finds = |number, value: &[u8]| copy.search(&bench.patterns, number, value, &mut []);
    assert_eq!(finds(first, b"a"), Some(true));
    assert_eq!(
        (finds(second, b"b"), finds(second, b"c")),
        (Some(true), Some(false))
    );
    // Another instance compiled that one after the snapshot.
    assert_eq!(finds(third, b"c"), None);
}

#[test]
fn groups_are_told_and_those_that_took_no_part_are_unset() {
    let mut bench = Bench::new();
    let id = bench.compile(true, "a(b)?(c)").expect("compiles");
    assert_eq!(
        bench.search::<3>(id, b"--ac"),
        Some(vec![Some((2, 4)), None, Some((3, 4))])
    );
    assert_eq!(bench.search::<3>(id, b"--ab"), None);
    assert_eq!(bench.search::<0>(id, b"--ac"), Some(vec![]));
}

#[test]
fn a_byte_that_is_no_text_is_one_replacement_character() {
    let mut bench = Bench::new();
    let id = bench.compile(true, "(?s:.)(x)").expect("compiles");
    let value = b"\xff\xffx";
    assert_eq!(
        bench.search::<2>(id, value),
        Some(vec![Some((1, 3)), Some((2, 3))])
    );
    let id = bench.compile(true, "\u{fffd}{3}y").expect("compiles");
    // A sequence that is cut counts byte for byte.
    assert_eq!(
        bench.search::<1>(id, b"z\xf0\x9f\x98y"),
        Some(vec![Some((1, 5))])
    );
    let id = bench.compile(false, "(?-u:\\xff)x").expect("compiles");
    assert_eq!(bench.search::<1>(id, value), Some(vec![Some((1, 3))]));
}

#[test]
fn what_cannot_be_linear_or_is_too_large_is_refused() {
    let mut bench = Bench::new();
    for bad in [
        "a(?=b)",
        "(a)\\1",
        "(",
        "((a{1000}){1000}){10}",
        &"(".repeat(300),
    ] {
        assert!(bench.compile(true, bad).is_err(), "{bad}");
    }
    assert!(
        bench
            .operators
            .compile(&bench.patterns, true, b"\xff")
            .is_err()
    );
    // A refusal is remembered.
    assert!(bench.compile(true, "a(?=b)").is_err());
}

#[test]
fn a_plugin_has_no_more_patterns_than_it_may() {
    let mut bench = Bench::new();
    for n in 0..PATTERNS_MAX {
        let key = format!("({n}");
        assert!(bench.compile(true, &key).is_err(), "not closed");
    }
    assert!(bench.compile(true, "good").is_err());
}

#[test]
fn a_value_that_would_hold_the_thread_is_not_searched() {
    let mut bench = Bench::new();
    let id = bench.compile(true, "(a?){999}a{999}").expect("compiles");
    let states = bench.patterns.table.lock().all[0].states();
    let longest = usize::try_from(WORK_MAX / states).expect("fits");
    let mut takes = |value: &[u8]| {
        let pattern = bench.patterns.table.lock().all[0].clone();
        assert_eq!(
            bench
                .operators
                .search(&bench.patterns, id, &value[..3], &mut []),
            Some(false)
        );
        pattern.takes(value)
    };
    assert!(takes(&vec![b'a'; longest]));
    assert!(!takes(&vec![b'a'; longest + 1]));
    // Each of these bytes becomes three.
    assert!(takes(&vec![0xff; longest / 3]));
    assert!(!takes(&vec![0xff; longest / 3 + 1]));
    let long = vec![b'a'; longest + 1];
    assert_eq!(
        bench.operators.search(&bench.patterns, id, &long, &mut []),
        None
    );
}

#[test]
fn caches_go_from_job_to_job() {
    let mut bench = Bench::new();
    let id = bench.compile(true, "a+b").expect("compiles");
    assert!(bench.search::<0>(id, b"aab").is_some());
    bench.operators.rest(&bench.patterns);
    assert_eq!(bench.patterns.caches.lock().len(), 1);
    assert!(bench.search::<0>(id, b"aab").is_some());
    assert_eq!(bench.patterns.caches.lock().len(), 0);
    bench.operators.rest(&bench.patterns);
    assert_eq!(bench.patterns.caches.lock().len(), 1);
}

#[test]
fn caches_that_grew_too_much_are_let_go_within_a_job_and_after_it() {
    let mut bench = Bench::new();
    let id = bench.compile(true, "a+b").expect("compiles");
    let grown = |bench: &mut Bench| {
        assert!(bench.search::<0>(id, b"aab").is_some());
        let caches = bench.operators.caches.as_mut().expect("in use");
        caches.memory.grow(CACHES_MAX);
        caches.searched = LOOK_EVERY;
    };
    grown(&mut bench);
    bench.operators.rest(&bench.patterns);
    assert_eq!(bench.patterns.caches.lock().len(), 0);
    grown(&mut bench);
    assert!(bench.search::<0>(id, b"aab").is_some());
    let caches = bench.operators.caches.as_ref().expect("in use");
    assert!(caches.memory.size() < CACHES_MAX);
}
