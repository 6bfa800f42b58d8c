//! recloser: a ring of the last so many calls. It has no window of time, no failures in a row and no slow calls.

use super::{Case, HOUR, fail, runtime, succeed};
use recloser::{AsyncRecloser, Error, Recloser};
use std::time::Duration;

/// A closed breaker with a ring of its default size.
pub fn subject() -> Recloser {
    Recloser::custom().closed_len(100).build()
}

pub fn success(breaker: &Recloser) {
    let _ = breaker.call(succeed);
}

pub fn closed() -> Case {
    let breaker = subject();
    Case::new("recloser 1.4, window of 100 calls", move || {
        assert!(breaker.call(succeed).is_ok(), "the breaker must be closed");
    })
}

pub fn failing() -> Case {
    // A rate that no window reaches.
    let breaker = Recloser::custom().closed_len(100).error_rate(1.1).build();
    Case::new("recloser 1.4, window of 100 calls", move || {
        assert!(matches!(breaker.call(fail), Err(Error::Inner(_))), "the breaker must be closed");
    })
}

pub fn open() -> Case {
    let breaker = Recloser::custom().closed_len(1).open_wait(HOUR).build();
    while !matches!(breaker.call(fail), Err(Error::Rejected)) {}
    Case::new("recloser 1.4", move || {
        assert!(matches!(breaker.call(succeed), Err(Error::Rejected)), "the breaker must be open");
    })
}

/// The shortest outage: it takes a full ring, and one call more, to open and to close.
pub fn outage() -> Case {
    Case::looped("recloser 1.4: 4 calls", |count| {
        let breaker = Recloser::custom().closed_len(1).half_open_len(1).open_wait(Duration::ZERO).build();
        for _ in 0..count {
            for work in [fail, fail, succeed, succeed] {
                assert!(!matches!(breaker.call(work), Err(Error::Rejected)), "each outage must end");
            }
        }
    })
}

pub fn whole_call() -> Case {
    let breaker = AsyncRecloser::from(subject());
    Case::looped("recloser 1.4, its asynchronous call: breaker alone", move |count| {
        runtime().block_on(async {
            for _ in 0..count {
                let answer = breaker.call(async { succeed() }).await;
                assert!(answer.is_ok(), "the call must be answered");
            }
        });
    })
}
