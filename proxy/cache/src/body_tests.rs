use super::*;
use crate::budget::Budget;
use std::time::Duration;

fn body(limit: usize) -> (Arc<Budget>, Arc<Body>) {
    let budget = Budget::new(limit);
    let body = Body::new(budget.take(0).unwrap(), false);
    (budget, body)
}

async fn all(reader: &mut Reader) -> Result<Vec<u8>, CacheError> {
    let mut bytes = Vec::new();
    while let Some(part) = reader.next().await? {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn a_reader_gets_bytes_while_the_rest_is_still_to_come() {
    let (_budget, body) = body(1 << 20);
    let mut reader = Reader::new(Arc::clone(&body));
    body.push(b"first", Paid::Past);
    assert_eq!(reader.next().await.unwrap().unwrap(), "first");
    let waiting = tokio::spawn(async move { all(&mut reader).await });
    tokio::task::yield_now().await;
    body.push(b"second", Paid::Past);
    body.complete();
    assert_eq!(waiting.await.unwrap().unwrap(), b"second");
    assert_eq!(all(&mut Reader::new(body)).await.unwrap(), b"firstsecond");
}

#[tokio::test]
async fn bytes_come_out_as_they_went_in_however_they_are_cut() {
    for chunk in [1, 3, 1_000, 4_096, 4_097, 65_535, 65_536, 65_537, 200_000] {
        let bytes = numbered(300_000.min(chunk * 5_000));
        let (budget, body) = body(1 << 30);
        let mut early = Reader::new(Arc::clone(&body));
        for part in bytes.chunks(chunk) {
            body.push(part, Paid::Past);
        }
        assert_eq!(early.next().await.unwrap().unwrap()[0], bytes[0]);
        early.seek(0, None).unwrap();
        body.complete();
        assert_eq!(all(&mut early).await.unwrap(), bytes, "{chunk}");
        assert_eq!(
            all(&mut Reader::new(Arc::clone(&body))).await.unwrap(),
            bytes,
            "{chunk}"
        );
        let pieces = body.pieces().unwrap();
        assert!(
            pieces.len() <= 2 * bytes.len().div_ceil(PIECE_MAX),
            "{chunk}: {}",
            pieces.len()
        );
        assert_eq!(
            budget.used(),
            bytes.len() + pieces.len() * PIECE_OVERHEAD,
            "{chunk}"
        );
        assert_eq!(body.complete_length(), Some(bytes.len() as u64));
    }
}

#[tokio::test]
async fn what_is_reserved_for_a_whole_body_is_enough_in_the_worst_cut() {
    let bytes = numbered(100_000);
    let budget = Budget::new(1 << 30);
    let most = Body::cost_at_most(bytes.len() as u64).unwrap();
    let body = Body::new(budget.take(most).unwrap(), true);
    let (mut at, mut long) = (0, true);
    while at < bytes.len() {
        let end = (at + if long { PIECE_MIN } else { 1 }).min(bytes.len());
        body.push(&bytes[at..end], Paid::Before);
        (at, long) = (end, !long);
        let held = body
            .growing
            .lock()
            .as_ref()
            .map(|growing| at + growing.pieces.len() * PIECE_OVERHEAD)
            .unwrap();
        assert!(held <= most && budget.used() == most);
    }
    body.complete();
    assert_eq!(
        budget.used(),
        bytes.len() + body.pieces().unwrap().len() * PIECE_OVERHEAD
    );
}

#[tokio::test]
async fn a_failed_body_fails_its_readers_and_holds_nothing() {
    let (budget, body) = body(1 << 20);
    let mut reader = Reader::new(Arc::clone(&body));
    body.push(b"half", Paid::Past);
    assert_eq!(reader.next().await.unwrap().unwrap(), "half");
    body.fail();
    assert_eq!(reader.next().await, Err(CacheError::Truncated));
    assert_eq!(
        Reader::new(Arc::clone(&body)).next().await,
        Err(CacheError::Truncated)
    );
    assert_eq!((budget.used(), body.complete_length()), (0, None));
}

#[tokio::test]
async fn ranges_are_read_from_whole_and_growing_bodies() {
    let bytes = numbered(200_000);
    let (_budget, body) = body(1 << 30);
    body.push(&bytes[..100_000], Paid::Past);
    let mut reader = Reader::new(Arc::clone(&body));
    reader.seek(99_999, Some(100_002)).unwrap();
    assert_eq!(
        reader.next().await.unwrap().unwrap(),
        bytes[99_999..100_000]
    );
    body.push(&bytes[100_000..], Paid::Past);
    assert_eq!(all(&mut reader).await.unwrap(), bytes[100_000..100_002]);
    body.complete();
    for (start, end) in [
        (0, 1),
        (65_535, 65_537),
        (0, 200_000),
        (199_999, 200_000),
        (70_000, 300_000),
    ] {
        reader.seek(start as u64, Some(end as u64)).unwrap();
        assert_eq!(
            all(&mut reader).await.unwrap(),
            bytes[start..end.min(bytes.len())],
            "{start}..{end}"
        );
    }
    assert_eq!(reader.seek(200_000, None), Err(CacheError::Range));
    assert_eq!(reader.seek(5, Some(5)), Err(CacheError::Range));
}

#[tokio::test]
async fn a_passing_body_keeps_only_what_its_readers_need() {
    let (budget, body) = body(1 << 30);
    let mut leader = Reader::leading(Arc::clone(&body));
    body.push(&numbered(100_000), Paid::Past);
    body.pass();
    let (mut sent, mut got) = (100_000, 0);
    while sent < 20_000_000 {
        body.push(&numbered(60_000), Paid::Past);
        sent += 60_000;
        while sent - got > 100_000 {
            got += leader.next().await.unwrap().unwrap().len();
        }
        assert_eq!(body.settle(), Ok(Duration::ZERO));
        assert!(budget.used() < 400_000, "{}", budget.used());
    }
    body.complete();
    assert_eq!(got + all(&mut leader).await.unwrap().len(), sent);
    assert_eq!(body.complete_length(), None, "and is never whole");
}

#[tokio::test]
async fn a_passing_body_is_held_back_by_its_leader_and_leaves_others_behind() {
    let (budget, body) = body(1 << 30);
    let mut slow = Reader::new(Arc::clone(&body));
    let mut leader = Reader::leading(Arc::clone(&body));
    body.pass();
    let chunk = numbered(64 * 1024);
    let mut paces = Vec::new();
    for _ in 0..(PASS_WINDOW as usize / chunk.len()) {
        body.push(&chunk, Paid::Past);
        paces.push(body.settle().unwrap());
    }
    assert_eq!(
        (paces[0], *paces.last().unwrap()),
        (Duration::ZERO, Duration::from_secs(4))
    );
    assert!(paces.is_sorted());
    let mut read = 0;
    while read < PASS_WINDOW {
        read += leader.next().await.unwrap().unwrap().len() as u64;
    }
    body.push(&chunk, Paid::Past);
    assert_eq!(
        body.settle(),
        Ok(Duration::ZERO),
        "the leader has caught up; nobody waits for the other"
    );
    assert_eq!(slow.next().await, Err(CacheError::TooSlow));
    assert!(budget.used() <= PASS_WINDOW as usize + 70 * PIECE_OVERHEAD);
    leader.next().await.unwrap().unwrap();
    drop(leader);
    drop(slow);
    assert_eq!(body.settle(), Err(CacheError::Unread));
}
