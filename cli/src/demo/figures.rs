//! Figures for a reader, at a steady width.

use super::measure::{Served, Tally};
use std::time::Duration;

/// A share: `12.5 %`, or `-` where there is none. It is cut, not rounded: 99.96 % is not 100 %.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", (share * 10.0).floor() / 10.0))
}

/// A latency: `0.30 ms`, `250 ms`, `2.1 s`, or `-` where there is none.
pub(crate) fn latency(latency: Option<Duration>) -> String {
    let Some(latency) = latency else { return "-".to_owned() };
    let millis = latency.as_secs_f64() * 1e3;
    if millis < 1.0 {
        format!("{millis:.2} ms")
    } else if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1e3)
    }
}

/// Who answered, largest share first: `static 93 %, live 7 %`.
pub(crate) fn shares(tally: &Tally) -> String {
    let mut shares: Vec<_> = Served::ALL.into_iter().filter(|served| tally.served_by(*served) > 0).collect();
    shares.sort_by_key(|served| std::cmp::Reverse(tally.served_by(*served)));
    if shares.is_empty() {
        return "-".to_owned();
    }
    let words = shares.into_iter().map(|served| {
        let percent = tally.percent(served).unwrap_or_default();
        if percent < 1.0 { format!("{} <1 %", served.name()) } else { format!("{} {percent:.0} %", served.name()) }
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_looks_better_than_it_is() {
        assert_eq!(percent(Some(99.96)), "99.9 %");
        assert_eq!(percent(Some(100.0)), "100.0 %");
        assert_eq!(percent(None), "-");
    }

    #[test]
    fn latencies_keep_two_or_three_digits() {
        let told = [300, 9_900, 250_000, 2_100_000].map(|micros| latency(Some(Duration::from_micros(micros))));
        assert_eq!(told, ["0.30 ms", "9.9 ms", "250 ms", "2.1 s"]);
        assert_eq!(latency(None), "-");
    }

    #[test]
    fn shares_leave_out_who_did_not_answer() {
        let mut tally = Tally::default();
        assert_eq!(shares(&tally), "-");
        (0..99).for_each(|_| tally.count(Served::Live, Duration::ZERO));
        (0..300).for_each(|_| tally.count(Served::Static, Duration::ZERO));
        tally.count(Served::Cached, Duration::ZERO);
        assert_eq!(shares(&tally), "static 75 %, live 25 %, cached <1 %");
    }
}
