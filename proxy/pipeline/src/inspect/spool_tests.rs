use super::{Body, Disk, Fault, MEMORY_MAX, PIECE, Replay, Spool};
use crate::inspect::budget::{Budget, HELD, Payer};
use bytes::Bytes;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn payer(most: usize) -> Payer {
    let client = "192.0.2.1".parse().expect("an address");
    Payer::new("x".into(), client, most as u64)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn disk(dir: &Path, max: u64) -> Arc<Disk> {
    Disk::new(dir.join("not").join("yet"), max)
}

async fn kept(disk: &Arc<Disk>, bodies: &Arc<Budget>, bytes: &[u8]) -> Result<Body, Fault> {
    let mut spool = Spool::new(disk, bodies, &payer(bytes.len()));
    for chunk in bytes.chunks(10_007) {
        spool.push(chunk).await?;
    }
    Ok(spool.end())
}

async fn all(replay: &mut Replay) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = replay.next().await.expect("a piece") {
        assert!(!piece.is_empty() && piece.len() <= PIECE);
        all.extend_from_slice(&piece);
    }
    assert!(replay.is_done());
    all
}

#[tokio::test]
async fn every_length_comes_back_as_it_was_for_each_try() {
    let dir = tempfile::tempdir().expect("a folder");
    let (disk, bodies) = (disk(dir.path(), 1 << 30), Budget::new(HELD, 1 << 30));
    for length in [
        0,
        1,
        PIECE,
        PIECE + 1,
        MEMORY_MAX,
        MEMORY_MAX + 1,
        3 * MEMORY_MAX + 12_345,
    ] {
        let bytes = pattern(length);
        let mut body = kept(&disk, &bodies, &bytes).await.expect("room");
        assert_eq!(body.file.is_some(), length > MEMORY_MAX, "{length}");
        assert!(body.tail.len() <= MEMORY_MAX && body.bytes() == length as u64);
        assert!(body.load().await.expect("room").concat() == bytes);
        body.put_down();
        let mut replay = Replay::new(Box::new(body));
        assert_eq!(replay.is_empty(), length == 0);
        assert!(all(&mut replay).await == bytes, "{length}");
        replay.rewind();
        drop(replay.next().await);
        replay.rewind();
        assert!(all(&mut replay).await == bytes, "{length}, once more");
    }
    assert!(bodies.is_untouched() && disk.budget.is_untouched());
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let (disk, bodies) = (disk(dir.path(), 1 << 30), Budget::new(HELD, 1 << 30));
    let bytes = pattern(2 * MEMORY_MAX);
    let body = kept(&disk, &bodies, &bytes).await.expect("room");
    let mut replay = Replay::new(Box::new(body));
    let (mut came, mut given_up) = (Vec::new(), 0);
    while !replay.is_done() {
        tokio::select! {
            biased;
            piece = replay.next() => came.extend(piece.expect("a piece").expect("more")),
            () = std::future::ready(()) => {
                given_up += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    assert!(came == bytes && given_up > 0);
}

#[tokio::test]
async fn files_have_no_names_and_their_folder_is_private() {
    let dir = tempfile::tempdir().expect("a folder");
    let (disk, bodies) = (disk(dir.path(), 1 << 30), Budget::new(HELD, 1 << 30));
    let body = kept(&disk, &bodies, &pattern(2 * MEMORY_MAX)).await;
    let body = body.expect("room");
    assert!(body.file.is_some());
    assert_eq!(std::fs::read_dir(&disk.dir).expect("made").count(), 0);
    let mode = std::fs::metadata(&disk.dir).expect("made").permissions();
    assert_eq!(mode.mode() & 0o777, 0o700);
}

#[tokio::test]
async fn past_either_bound_a_body_is_refused_and_all_is_given_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let long = pattern(4 * MEMORY_MAX);
    let on_disk = |body: &Body| body.on_disk();
    let (free, bodies) = (disk(dir.path(), 1 << 30), Budget::new(HELD, 1 << 30));
    let most = on_disk(&kept(&free, &bodies, &long).await.expect("room"));
    for (max, fits) in [(most, true), (most - 1, false)] {
        let disk = disk(dir.path(), max);
        let body = kept(&disk, &bodies, &long).await;
        let expected = if fits {
            Ok(())
        } else {
            Err(Fault::BodiesSpooled)
        };
        assert_eq!(body.map(drop), expected);
        assert!(bodies.is_untouched() && disk.budget.is_untouched());
    }
    let little = Budget::new(HELD, 2 * MEMORY_MAX as u64);
    let mut body = kept(&free, &little, &long).await.expect("room on disk");
    let refused = body.load().await.map(|_| ());
    assert_eq!(
        refused,
        Err(Fault::BodiesHeld),
        "the verdict needs it whole"
    );
    drop(body);
    assert!(little.is_untouched());
}

#[tokio::test]
async fn what_a_plugin_makes_of_it_takes_its_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let (disk, bodies) = (disk(dir.path(), 1 << 30), Budget::new(HELD, 1 << 30));
    let mut body = kept(&disk, &bodies, &pattern(3 * MEMORY_MAX))
        .await
        .expect("room");
    body.load().await.expect("room");
    body.replace(Bytes::from_static(b"new")).expect("room");
    assert!(disk.budget.is_untouched(), "nothing of it is on disk");
    body.put_down();
    assert_eq!(all(&mut Replay::new(Box::new(body))).await, b"new");
}

#[tokio::test]
async fn a_disk_that_fails_is_said_so() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("not"), "a file where the folder should be").expect("writes");
    let bodies = Budget::new(HELD, 1 << 30);
    let before = aegis_telemetry::metrics::SPOOL_ERRORS.get();
    let failed = kept(
        &disk(dir.path(), 1 << 30),
        &bodies,
        &pattern(2 * MEMORY_MAX),
    )
    .await;
    assert_eq!(failed.map(|_| ()), Err(Fault::BodiesSpooled));
    assert!(aegis_telemetry::metrics::SPOOL_ERRORS.get() > before);
}
