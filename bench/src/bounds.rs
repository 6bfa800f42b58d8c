//! The bounds of instructions, as `instructions.toml` has them.

use crate::profile::Cost;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the file begins with when it is recorded.
const HEADER: &str = "\
# Instructions of each operation of our own code, under callgrind: what `make instructions` allows. The bounds are those
# of one compiler; another one is held to them with a wider margin. After a change that is meant to make an operation
# faster, or that is worth its cost, `make record-instructions` writes this file anew: look at the difference, and say in
# the commit what it buys.
";

/// Above what was measured, in percent: compilers place code differently from build to build.
const MARGIN: f64 = 5.0;
/// Below the bound, in percent, from which on the bound no longer holds anything.
const SLACK: f64 = 15.0;
/// Above the bound, in percent, for a compiler that it was not recorded with.
const OTHER_COMPILER: f64 = 25.0;
/// A few instructions are no percentage.
const LEAST: f64 = 2.0;

/// All bounds, and the compiler that they are of.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// As `rustc --version` says.
    pub rustc: String,
    /// By the name of the operation.
    pub operations: BTreeMap<String, Bound>,
}

/// What an operation may take.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Instructions of the program.
    pub instructions: u64,
    /// Calls into the C library.
    pub calls: u64,
}

impl Bounds {
    /// What is wrong with a cost. `None`: nothing.
    pub fn complaint(&self, rustc: &str, name: &str, cost: &Cost) -> Option<String> {
        let Some(bound) = self.operations.get(name) else {
            return Some("has no bound".to_owned());
        };
        let limit = bound.instructions as f64;
        if rustc != self.rustc {
            let limit = limit * (1.0 + OTHER_COMPILER / 100.0) + LEAST;
            return (cost.instructions > limit)
                .then(|| format!("more than {limit:.0}, with {OTHER_COMPILER} % allowed"));
        }
        if cost.instructions > limit {
            Some("more than its bound".to_owned())
        } else if cost.instructions < limit - (limit * SLACK / 100.0).max(2.0 * LEAST) {
            Some(format!("more than {SLACK} % below its bound, which so holds nothing: lower it"))
        } else if cost.calls.round() as u64 != bound.calls {
            Some(format!("calls the C library {:.1} times, not {}", cost.calls, bound.calls))
        } else {
            None
        }
    }

    /// The file for what was measured.
    pub fn record(rustc: &str, costs: &[(&str, Cost)]) -> String {
        let mut text = format!("{HEADER}\nrustc = {rustc:?}\n\n[operations]\n");
        for (name, cost) in costs {
            let margin = (cost.instructions * MARGIN / 100.0).max(LEAST);
            let bound = (cost.instructions + margin).ceil();
            let _ = writeln!(text, "{name} = {{ instructions = {bound}, calls = {:.0} }}", cost.calls);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, calls: f64) -> Cost {
        Cost { instructions, calls, called: Vec::new() }
    }

    fn bounds() -> Bounds {
        toml::from_str(&Bounds::record("rustc 1", &[("small", cost(10.0, 0.0)), ("large", cost(1000.0, 2.0))])).unwrap()
    }

    #[test]
    fn what_was_recorded_passes() {
        let bounds = bounds();
        assert_eq!((bounds.operations["small"].instructions, bounds.operations["large"].instructions), (12, 1050));
        assert_eq!(bounds.complaint("rustc 1", "small", &cost(10.0, 0.0)), None);
        assert_eq!(bounds.complaint("rustc 1", "large", &cost(1000.0, 2.0)), None);
    }

    #[test]
    fn more_fails_and_so_does_much_less_and_what_has_no_bound() {
        let bounds = bounds();
        let complains = |name, cost| bounds.complaint("rustc 1", name, &cost).is_some();
        assert!(complains("large", cost(1051.0, 2.0)));
        assert!(complains("large", cost(890.0, 2.0)));
        assert!(!complains("large", cost(900.0, 2.0)));
        assert!(complains("large", cost(1000.0, 3.0)));
        assert!(complains("large", cost(1000.0, 1.0)));
        assert!(complains("small", cost(7.9, 0.0)));
        assert!(!complains("small", cost(8.1, 0.0)));
        assert!(complains("unknown", cost(1.0, 0.0)));
    }

    #[test]
    fn another_compiler_has_a_wider_margin_and_no_lower_bound() {
        let bounds = bounds();
        assert_eq!(bounds.complaint("rustc 2", "large", &cost(1300.0, 5.0)), None);
        assert_eq!(bounds.complaint("rustc 2", "large", &cost(100.0, 0.0)), None);
        assert!(bounds.complaint("rustc 2", "large", &cost(1320.0, 2.0)).is_some());
    }
}
