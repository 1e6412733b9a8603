use super::*;

fn seat(seats: &Arc<Seats>) -> Arc<Seat> {
    seats.try_take().expect("a place")
}

/// Until it is told to go.
async fn told_to_leave(seat: &Seat) {
    std::future::poll_fn(|cx| {
        seat.was_nudged(cx.waker());
        if seat.is_to_leave() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_goes_first_whichever_shard_it_is_in() {
    let seats = Seats::new(100);
    let all: Vec<_> = (0..100).map(|_| seat(&seats)).collect();
    // In an order of their own, one each millisecond.
    let order: Vec<_> = (0..100).map(|n| n * 37 % 100).collect();
    for &n in &order {
        all[n].rest();
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    // One of them works in between and is the last then.
    all[order[3]].work();
    all[order[3]].rest();
    let mut expected = order.clone();
    expected.remove(3);
    expected.push(order[3]);
    for n in expected {
        assert!(!all[n].is_to_leave());
        assert!(seats.send_longest_idle());
        assert!(all[n].is_to_leave(), "{n}");
    }
    assert!(!seats.send_longest_idle(), "nobody is idle any more");
}

#[tokio::test]
async fn past_the_last_place_an_idle_one_makes_room_and_a_busy_one_does_not() {
    let seats = Seats::new(2);
    let (busy, idle) = (seat(&seats), seat(&seats));
    idle.rest();
    let leaving = tokio::spawn(async move {
        told_to_leave(&idle).await;
        drop(idle);
    });
    let (third, made_room) = seats.take().await.expect("room is made");
    assert!(made_room);
    leaving.await.unwrap();
    assert!(seats.take().await.is_none(), "all are at work");
    drop(busy);
    let (_fourth, made_room) = seats.take().await.expect("a free place");
    assert!(!made_room);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn who_begins_a_request_when_it_is_told_to_go_stays_and_the_next_one_goes() {
    let seats = Seats::new(2);
    let (first, second) = (seat(&seats), seat(&seats));
    first.rest();
    tokio::time::advance(Duration::from_millis(1)).await;
    second.rest();
    let second = tokio::spawn(async move {
        told_to_leave(&second).await;
    });
    let began = Instant::now();
    let beginning = async {
        told_to_leave(&first).await;
        // Its request came in the same moment.
        first.work();
        assert!(!first.is_to_leave());
    };
    let (taken, ()) = tokio::join!(seats.take(), beginning);
    assert!(taken.is_some_and(|(_, made_room)| made_room));
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "nobody waits for who stays"
    );
    assert!(!first.is_to_leave());
    second.await.unwrap();
}

#[tokio::test]
async fn who_does_not_go_keeps_nobody_waiting_for_long() {
    tokio::time::pause();
    let seats = Seats::new(1);
    let stuck = seat(&seats);
    stuck.rest();
    assert!(seats.take().await.is_none());
    assert_eq!(seats.taken.load(Ordering::Relaxed), 1);
}

#[test]
fn places_are_used_again() {
    let seats = Seats::new(1000);
    for _ in 0..50 {
        let all: Vec<_> = (0..100).map(|_| seat(&seats)).collect();
        for (n, one) in all.iter().enumerate() {
            if n % 3 == 0 {
                one.rest();
            }
            if n % 6 == 0 {
                one.work();
            }
        }
    }
    let slots: usize = (0..SHARDS).map(|n| seats.shard(n).slots.len()).sum();
    assert!(slots <= 100 + SHARDS, "{slots}");
    assert!(!seats.send_longest_idle());
}
