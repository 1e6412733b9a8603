use super::*;
use crate::body::{PIECE_MAX, PIECE_OVERHEAD, Reader};
use crate::decide::Facts;
use crate::key::KeyMaker;
use crate::object::Head;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::{Duration, SystemTime};

const OBJECT_MAX: u64 = 1 << 20;

fn parts(vary: &'static str, language: &'static str) -> Parts {
    let mut headers = HeaderMap::new();
    headers.insert("etag", HeaderValue::from_static("\"a\""));
    if !vary.is_empty() {
        headers.insert("vary", HeaderValue::from_static(vary));
    }
    let vary = Vary::of(&headers).unwrap();
    let variance = vary.variance(&keys(), &asked(language));
    let facts = Facts {
        received: SystemTime::UNIX_EPOCH,
        born: SystemTime::UNIX_EPOCH,
        lifetime: Duration::from_secs(60),
        stale_if_error: Duration::ZERO,
        stale_forbidden: false,
        for_authorized: false,
    };
    Parts {
        head: Head::new(StatusCode::OK, &headers).unwrap(),
        facts,
        vary,
        variance,
    }
}

fn keys() -> KeyMaker {
    KeyMaker::new([0; 32])
}

fn asked(language: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::header::ACCEPT_LANGUAGE,
        HeaderValue::from_static(language),
    )])
}

fn get(l1: &L1, key: u128, language: &'static str) -> Option<Arc<Object>> {
    l1.get(Key(key), |vary| vary.variance(&keys(), &asked(language)))
}

async fn store(l1: &Arc<L1>, key: u128, length: usize) -> Result<Arc<Object>, CacheError> {
    let mut fill = l1.fill(Key(key), parts("", ""), Some(length as u64), OBJECT_MAX)?;
    fill.write(Bytes::from(vec![7; length])).await?;
    let object = Arc::clone(fill.object());
    fill.finish()?;
    Ok(object)
}

fn cost(length: usize) -> usize {
    parts("", "").cost() + length + length.div_ceil(PIECE_MAX) * PIECE_OVERHEAD
}

#[tokio::test]
async fn what_is_stored_is_found_and_counted_to_the_byte() {
    let l1 = L1::new(10 << 20);
    let object = store(&l1, 1, 100_000).await.unwrap();
    assert!(Arc::ptr_eq(&get(&l1, 1, "").unwrap(), &object));
    assert!(get(&l1, 2, "").is_none());
    assert_eq!(l1.budget().used(), cost(100_000));
    drop(object);
    assert!(l1.remove(Key(1)) && !l1.remove(Key(1)));
    assert_eq!(l1.budget().used(), 0);
}

#[tokio::test]
async fn the_bound_holds_at_the_limit_and_one_byte_past_it() {
    let most = crate::body::Body::cost_at_most(1_000).unwrap() + parts("", "").cost();
    assert!(store(&L1::new(most), 1, 1_000).await.is_ok());
    assert_eq!(
        store(&L1::new(most - 1), 1, 1_000).await.err(),
        Some(CacheError::NoRoom)
    );
    // With one stored, a second needs its room: the first goes.
    let l1 = L1::new(most + cost(1_000) - 1);
    store(&l1, 1, 1_000).await.unwrap();
    store(&l1, 2, 1_000).await.unwrap();
    assert!(get(&l1, 1, "").is_none() && get(&l1, 2, "").is_some());
    let l1 = L1::new(most + cost(1_000));
    store(&l1, 1, 1_000).await.unwrap();
    store(&l1, 2, 1_000).await.unwrap();
    assert!(get(&l1, 1, "").is_some() && get(&l1, 2, "").is_some());
}

#[tokio::test]
async fn the_bound_holds_under_many_answers_of_many_lengths() {
    let l1 = L1::new(1 << 20);
    for key in 0..5_000_u128 {
        let length = (key as usize * 7_919) % 60_000;
        assert!(store(&l1, key, length).await.is_ok());
        assert!(l1.budget().used() <= l1.budget().limit());
    }
    assert!(l1.budget().used() > l1.budget().limit() / 2, "and is used");
    assert!(l1.policy.lock().len() <= 2 * l1.entries.load(Ordering::Relaxed) + 1_024);
}

#[tokio::test]
async fn what_is_asked_for_often_outlives_a_flood_of_what_is_not() {
    let l1 = L1::new(1 << 20);
    for key in 0..100 {
        store(&l1, key, 1_000).await.unwrap();
        get(&l1, key, "");
        get(&l1, key, "");
    }
    for key in 1_000..5_000 {
        store(&l1, key, 1_000).await.unwrap();
    }
    let left = (0..100).filter(|key| get(&l1, *key, "").is_some()).count();
    assert!(left >= 95, "{left}");
}

#[tokio::test]
async fn what_is_still_read_counts_until_the_last_reader_lets_go() {
    let l1 = L1::new(cost(60_000) + 70_000);
    let mut reader = Reader::new(Arc::clone(store(&l1, 1, 60_000).await.unwrap().body()));
    assert_eq!(
        store(&l1, 2, 69_000).await.err(),
        Some(CacheError::NoRoom),
        "the first is out of the map but not of memory"
    );
    assert!(get(&l1, 1, "").is_none());
    assert_eq!(reader.next().await.unwrap().unwrap().len(), 60_000);
    drop(reader);
    assert!(store(&l1, 2, 69_000).await.is_ok());
}

#[tokio::test]
async fn readers_attach_to_an_answer_being_received() {
    let l1 = L1::new(1 << 20);
    let mut fill = l1.fill(Key(1), parts("", ""), None, OBJECT_MAX).unwrap();
    fill.write(Bytes::from_static(b"one ")).await.unwrap();
    let mut readers: Vec<_> = (0..100)
        .map(|_| Reader::new(Arc::clone(get(&l1, 1, "").unwrap().body())))
        .collect();
    for reader in &mut readers {
        assert_eq!(reader.next().await.unwrap().unwrap(), "one ");
    }
    let tasks: Vec<_> = readers
        .into_iter()
        .map(|mut reader| tokio::spawn(async move { (reader.next().await, reader.next().await) }))
        .collect();
    tokio::task::yield_now().await;
    fill.write(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(fill.finish(), Ok(7));
    for task in tasks {
        assert_eq!(
            task.await.unwrap(),
            (Ok(Some(Bytes::from_static(b"two"))), Ok(None))
        );
    }
    assert_eq!(get(&l1, 1, "").unwrap().body().complete_length(), Some(7));
}

#[tokio::test]
async fn a_writer_that_leaves_early_stores_nothing_and_fails_its_readers() {
    let l1 = L1::new(1 << 20);
    let old = store(&l1, 1, 10).await.unwrap();
    let mut fill = l1
        .fill(Key(1), parts("", ""), Some(10), OBJECT_MAX)
        .unwrap();
    fill.write(Bytes::from_static(b"12345")).await.unwrap();
    let mut reader = Reader::new(Arc::clone(get(&l1, 1, "").unwrap().body()));
    reader.next().await.unwrap();
    drop(fill);
    assert_eq!(reader.next().await, Err(CacheError::Truncated));
    assert!(
        Arc::ptr_eq(&get(&l1, 1, "").unwrap(), &old),
        "the former answer is still there"
    );
    let mut fill = l1
        .fill(Key(2), parts("", ""), Some(10), OBJECT_MAX)
        .unwrap();
    fill.write(Bytes::from_static(b"12345")).await.unwrap();
    assert_eq!(fill.finish(), Err(CacheError::Truncated));
    assert!(get(&l1, 2, "").is_none());
    let mut fill = l1.fill(Key(2), parts("", ""), Some(3), OBJECT_MAX).unwrap();
    assert_eq!(
        fill.write(Bytes::from_static(b"12345")).await,
        Err(CacheError::Truncated)
    );
    drop((fill, reader));
    assert_eq!(l1.budget().used(), cost(10));
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_stored_up_to_object_max_and_passed_on_past_it() {
    for (length, stored) in [(100_000, true), (100_001, false)] {
        let l1 = L1::new(1 << 20);
        let mut fill = l1.fill(Key(1), parts("", ""), None, 100_000).unwrap();
        let mut reader = Reader::leading(Arc::clone(fill.object().body()));
        let reading = tokio::spawn(async move {
            let mut total = 0;
            while let Some(bytes) = reader.next().await.unwrap() {
                total += bytes.len();
            }
            total
        });
        for part in vec![1_u8; length].chunks(10_000) {
            fill.write(Bytes::copy_from_slice(part)).await.unwrap();
        }
        assert_eq!(fill.is_passing(), !stored);
        fill.finish().unwrap();
        assert_eq!(reading.await.unwrap(), length);
        assert_eq!(get(&l1, 1, "").is_some(), stored);
        assert_eq!(
            l1.budget().used(),
            if stored {
                get(&l1, 1, "").map(|_| l1.budget().used()).unwrap()
            } else {
                0
            }
        );
    }
}

#[tokio::test]
async fn the_newest_of_two_writers_is_the_one_stored() {
    let l1 = L1::new(1 << 20);
    let first = l1.fill(Key(1), parts("", ""), Some(0), OBJECT_MAX).unwrap();
    let second = l1.fill(Key(1), parts("", ""), Some(0), OBJECT_MAX).unwrap();
    let newest = Arc::clone(second.object());
    assert_eq!((second.finish(), first.finish()), (Ok(0), Ok(0)));
    assert!(Arc::ptr_eq(&get(&l1, 1, "").unwrap(), &newest));
}

#[tokio::test]
async fn a_purge_reaches_answers_that_are_still_being_received() {
    let l1 = L1::new(1 << 20);
    let fill = l1.fill(Key(1), parts("", ""), Some(0), OBJECT_MAX).unwrap();
    assert!(l1.remove(Key(1)));
    fill.finish().unwrap();
    assert!(get(&l1, 1, "").is_none());
    assert_eq!(l1.budget().used(), 0);
}

#[tokio::test]
async fn variants_are_told_apart_and_their_number_is_bounded() {
    let l1 = L1::new(1 << 20);
    let languages: Vec<&'static str> = (0..=VARIANTS_MAX)
        .map(|at| &*Box::leak(format!("l{at}").into_boxed_str()))
        .collect();
    for language in &languages {
        l1.fill(
            Key(1),
            parts("accept-language", language),
            Some(0),
            OBJECT_MAX,
        )
        .unwrap()
        .finish()
        .unwrap();
    }
    assert!(
        get(&l1, 1, languages[0]).is_none(),
        "the first made room for the one past the bound"
    );
    assert!(
        languages[1..]
            .iter()
            .all(|language| get(&l1, 1, language).is_some())
    );
    assert!(get(&l1, 1, "other").is_none());
    l1.fill(Key(1), parts("", ""), Some(0), OBJECT_MAX)
        .unwrap()
        .finish()
        .unwrap();
    assert!(
        get(&l1, 1, languages[1]).unwrap().vary().is_empty(),
        "the origin no longer chooses"
    );
    assert_eq!(l1.budget().used(), parts("", "").cost());
}

#[tokio::test]
async fn a_confirmed_answer_gets_a_new_head_and_keeps_its_body() {
    let l1 = L1::new(1 << 20);
    let old = store(&l1, 1, 10).await.unwrap();
    let mut newer = parts("", "");
    newer.facts.lifetime = Duration::from_secs(99);
    assert!(l1.freshen(Key(1), &old, newer));
    let new = get(&l1, 1, "").unwrap();
    assert!(Arc::ptr_eq(new.body(), old.body()));
    assert_eq!(new.facts().lifetime.as_secs(), 99);
    assert!(
        !l1.freshen(Key(1), &old, parts("", "")),
        "only what is stored"
    );
    drop(old);
    assert_eq!(l1.budget().used(), cost(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_of_few_keys_at_once_never_see_a_wrong_or_half_answer() {
    let l1 = L1::new(300_000);
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let l1 = Arc::clone(&l1);
            tokio::spawn(async move {
                let mut random = task * 7_919 + 1;
                for _ in 0..2_000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let key = u128::from((random >> 33) % 20);
                    if let Some(object) = get(&l1, key, "") {
                        let mut reader = Reader::new(Arc::clone(object.body()));
                        let (mut total, mut failed) = (0, false);
                        loop {
                            match reader.next().await {
                                Ok(Some(bytes)) => {
                                    assert!(bytes.iter().all(|byte| u128::from(*byte) == key));
                                    total += bytes.len();
                                }
                                Ok(None) => break,
                                Err(_) => {
                                    failed = true;
                                    break;
                                }
                            }
                        }
                        assert!(failed || total == 10_000 + key as usize);
                    } else if let Ok(mut fill) = l1.fill(Key(key), parts("", ""), None, OBJECT_MAX)
                    {
                        let length = 10_000 + key as usize;
                        for part in vec![key as u8; length].chunks(3_000) {
                            if fill.write(Bytes::copy_from_slice(part)).await.is_err() {
                                break;
                            }
                            tokio::task::yield_now().await;
                        }
                        // Now and then a writer gives up; a cut-off one is dropped like that too.
                        if fill.object().body().length() == length as u64 && random % 5 != 0 {
                            fill.finish().unwrap();
                        }
                    }
                    assert!(l1.budget().used() <= l1.budget().limit() + 8 * 20_000);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for key in 0..20 {
        l1.remove(Key(key));
    }
    assert_eq!(l1.budget().used(), 0);
}
