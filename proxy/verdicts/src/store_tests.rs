use super::*;
use crate::{Author, Kind, NeverBan, Terms};
use tempfile::TempDir;

const NOW: Millis = 1_800_000_000_000;
const HOUR: Millis = 3_600_000;

fn ban(prefix: &str) -> Verdict {
    Verdict {
        kind: Kind::Ban,
        prefix: prefix.parse().unwrap(),
        scope: Scope::Node,
        author: Author::Operator("ann".into()),
        reason: "because".into(),
        request: None,
        since: NOW,
        until: Some(NOW + HOUR),
        l7_only: false,
        hits: 3,
    }
}

fn table(of: &[Verdict]) -> Table {
    let table = Table::new(100, [7; 16], NeverBan::new([])).unwrap();
    for verdict in of {
        table.put(verdict.clone(), Terms::default(), NOW).unwrap();
    }
    table
}

fn put(prefix: &str) -> Change {
    Change::Put(ban(prefix))
}

fn kept(dir: &Path) -> Vec<String> {
    let mut kept: Vec<_> = Store::read(dir)
        .verdicts
        .iter()
        .map(|verdict| verdict.prefix.to_string())
        .collect();
    kept.sort();
    kept
}

/// A store that holds 203.0.113.1 in its snapshot.
fn begun() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap().unwrap();
    store
        .snapshot(&table(&[ban("203.0.113.1")]), NOW, 0)
        .unwrap();
    (dir, store)
}

#[test]
fn what_was_put_and_removed_is_there_again_without_an_orderly_end() {
    let (dir, mut store) = begun();
    assert!(!store.has_changes());
    let removed = Change::Removed {
        prefix: "203.0.113.1".parse().unwrap(),
        scope: Scope::Node,
    };
    store
        .append([put("203.0.113.2"), removed, put("203.0.113.3")], 0)
        .unwrap();
    store.sync().unwrap();
    assert!(store.has_changes() && !store.wants_snapshot());
    // No drop, no snapshot: as if the process were killed.
    std::mem::forget(store);
    assert_eq!(kept(dir.path()), ["203.0.113.2", "203.0.113.3"]);
    assert!(Store::read(dir.path()).problems.is_empty());
}

#[test]
fn a_directory_without_anything_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let found = Store::read(&dir.path().join("never"));
    assert!(found.verdicts.is_empty() && found.problems.is_empty());
}

#[test]
fn files_are_for_the_nodes_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("verdicts");
    let mut store = Store::open(&dir).unwrap().unwrap();
    store.snapshot(&table(&[]), NOW, 0).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["snapshot", "journal", "lock"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_torn_end_costs_what_is_torn_and_is_told() {
    let (dir, mut store) = begun();
    store.append([put("203.0.113.2")], 0).unwrap();
    store.append([put("203.0.113.3")], 0).unwrap();
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(kept(dir.path()), ["203.0.113.1", "203.0.113.2"]);
    let problems = Store::read(dir.path()).problems;
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].contains("the journal is damaged from byte"),
        "{problems:?}"
    );
    assert!(dir.path().join("journal.damaged").exists());
}

#[test]
fn garbage_anywhere_is_set_aside_and_nothing_panics() {
    for garbage in [
        &b"x"[..],
        b"AEGISVRJ\x01\x00",
        b"AEGISVRJ\x09\x00",
        &[0xff; 4096],
    ] {
        let (dir, mut store) = begun();
        store.append([put("203.0.113.2")], 0).unwrap();
        fs::write(dir.path().join("snapshot"), garbage).unwrap();
        assert_eq!(kept(dir.path()), ["203.0.113.2"]);
        fs::write(dir.path().join("journal"), garbage).unwrap();
        assert!(kept(dir.path()).is_empty());
        assert!(dir.path().join("snapshot.damaged").exists());
    }
    let (dir, _store) = begun();
    fs::remove_file(dir.path().join("journal")).unwrap();
    fs::create_dir(dir.path().join("journal")).unwrap();
    let found = Store::read(dir.path());
    assert_eq!((found.verdicts.len(), found.problems.len()), (1, 1));
}

#[test]
fn every_cut_of_a_journal_gives_a_beginning_of_it() {
    let (dir, mut store) = begun();
    for n in 2..6 {
        store.append([put(&format!("203.0.113.{n}"))], 0).unwrap();
    }
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let mut before = 0;
    for length in journal_header().len()..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let now = kept(dir.path()).len();
        assert!(now >= before && now <= 5, "{length}");
        before = now;
    }
    assert_eq!(before, 5);
}

#[test]
fn only_one_process_writes() {
    let (dir, store) = begun();
    assert!(Store::open(dir.path()).unwrap().is_none());
    drop(store);
    assert!(Store::open(dir.path()).unwrap().is_some());
}

#[test]
fn a_store_just_opened_takes_changes_after_its_first_snapshot() {
    let (dir, store) = begun();
    drop(store);
    let mut store = Store::open(dir.path()).unwrap().unwrap();
    assert!(store.wants_snapshot() && store.has_changes());
    assert!(store.append([put("203.0.113.2")], 0).is_err());
    store
        .snapshot(&table(&[ban("203.0.113.1")]), NOW, 0)
        .unwrap();
    assert!(!store.wants_snapshot());
    store.append([put("203.0.113.2")], 0).unwrap();
    assert_eq!(kept(dir.path()), ["203.0.113.1", "203.0.113.2"]);
}

#[test]
fn what_is_written_is_told_in_the_time_of_the_wall_clock() {
    let (dir, mut store) = begun();
    // The wall clock was put back by an hour after the process had started.
    store.append([put("203.0.113.2")], -3_600_000).unwrap();
    store.sync().unwrap();
    let found = Store::read(dir.path()).verdicts;
    let second = found
        .iter()
        .find(|v| v.prefix == "203.0.113.2".parse().unwrap());
    let second = second.unwrap();
    assert_eq!((second.since, second.until), (NOW - HOUR, Some(NOW)));
    store
        .snapshot(&table(&[ban("203.0.113.2")]), NOW, 3_600_000)
        .unwrap();
    let found = Store::read(dir.path()).verdicts;
    assert_eq!(
        (found[0].since, found[0].until),
        (NOW + HOUR, Some(NOW + 2 * HOUR))
    );
}

#[test]
fn a_ban_kept_by_a_clock_that_was_ahead_is_not_eternal() {
    let table = table(&[]);
    let ahead = Verdict {
        since: NOW + 1000 * HOUR,
        until: Some(NOW + 1001 * HOUR),
        ..ban("203.0.113.9")
    };
    assert_eq!(table.restore(vec![ahead], NOW).kept, 1);
    let kept = table.list(0, 10, NOW).0;
    assert_eq!(kept[0].until, Some(NOW + HOUR));
}
