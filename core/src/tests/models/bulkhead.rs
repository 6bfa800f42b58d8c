use super::{CROWD, Condvar, Mutex, Part, check, crowd, race};
use crate::bulkhead::{Acquire, Bulkhead, Permit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Wakes a thread of the model. One that is never woken is a deadlock, which the checkers report.
struct Alarm {
    rang: Mutex<bool>,
    condition: Condvar,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        *self.rang.lock().unwrap() = true;
        self.condition.notify_one();
    }
}

impl Alarm {
    fn new() -> Arc<Self> {
        Arc::new(Self { rang: Mutex::new(false), condition: Condvar::new() })
    }

    fn wait(&self) {
        let mut rang = self.rang.lock().unwrap();
        while !*rang {
            rang = self.condition.wait(rang).unwrap();
        }
        *rang = false;
    }
}

fn poll(acquire: &mut Acquire, alarm: &Arc<Alarm>) -> Poll<Option<Permit>> {
    let waker = Waker::from(Arc::clone(alarm));
    Pin::new(acquire).poll(&mut Context::from_waker(&waker)).map(Result::ok)
}

/// Waits until there is a place.
fn wait(bulkhead: &Arc<Bulkhead>) -> Option<Permit> {
    let (mut acquire, alarm) = (bulkhead.acquire(), Alarm::new());
    loop {
        match poll(&mut acquire, &alarm) {
            Poll::Ready(permit) => return permit,
            Poll::Pending => alarm.wait(),
        }
    }
}

/// Tries once, and gives up where it would have to wait.
fn give_up(bulkhead: &Arc<Bulkhead>) {
    let _ = poll(&mut bulkhead.acquire(), &Alarm::new());
}

fn counts(bulkhead: &Bulkhead) -> (u32, u32) {
    (bulkhead.in_flight(), bulkhead.queued())
}

fn bulkhead(max_concurrent: u32, max_queue: u32) -> (Arc<Bulkhead>, Arc<Bulkhead>) {
    let bulkhead = Bulkhead::new(max_concurrent, max_queue);
    (Arc::clone(&bulkhead), bulkhead)
}

#[test]
fn nobody_who_waits_is_forgotten() {
    check(|| {
        let (bulkhead, shared) = bulkhead(1, CROWD as u32);
        let served = crowd(CROWD, move |_| wait(&shared).is_some());
        assert!(served.into_iter().all(|served| served));
        assert_eq!(counts(&bulkhead), (0, 0));
    });
}

#[test]
fn places_are_never_more_than_there_are() {
    check(|| {
        let (bulkhead, shared) = bulkhead(1, 0);
        let permits = crowd(CROWD, move |_| shared.try_acquire());
        assert_eq!((permits.iter().flatten().count(), counts(&bulkhead)), (1, (1, 0)));
        drop(permits);
        assert_eq!(counts(&bulkhead), (0, 0));
    });
}

/// A place is handed to one who is just giving up: he passes it on to the one who waits behind him.
///
/// Seen in <https://github.com/failsafe-lib/failsafe/issues/393>, <https://github.com/connor4312/cockatiel/issues/112>.
#[test]
fn t35_a_place_that_comes_to_one_who_gives_up_is_passed_on() {
    check(|| {
        let (bulkhead, shared) = bulkhead(1, 2);
        let permit = bulkhead.try_acquire();
        let (one, other) = (Arc::clone(&shared), shared);
        let parts: [Part<()>; 3] = [
            Box::new(move || give_up(&one)),
            Box::new(move || assert!(wait(&other).is_some())),
            Box::new(move || drop(permit)),
        ];
        race(parts);
        assert_eq!(counts(&bulkhead), (0, 0));
    });
}

#[test]
fn limits_that_rise_as_somebody_goes_to_wait_let_him_in() {
    check(|| {
        let (bulkhead, shared) = bulkhead(1, 1);
        let permit = bulkhead.try_acquire();
        let other = Arc::clone(&shared);
        let parts: [Part<()>; 2] =
            [Box::new(move || assert!(wait(&other).is_some())), Box::new(move || shared.set_limits(2, 1))];
        race(parts);
        drop(permit);
        assert_eq!(counts(&bulkhead), (0, 0));
    });
}
