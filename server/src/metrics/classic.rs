//! OpenMetrics as Prometheus' own text format, for those who read no other.
//!
//! The samples are the same. What differs is what is said about them: the older format calls a counter by the name that its
//! samples have, and knows neither units nor an end.

use std::fmt::Write as _;

/// The same in the text format 0.0.4.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# HELP ") {
            help = said.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|said| said.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Writing to a text cannot fail.
            if let Some((_, help)) = help.take() {
                let _ = writeln!(classic, "# HELP {name}{suffix} {help}");
            }
            let _ = writeln!(classic, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            classic.push_str(line);
            classic.push('\n');
        }
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_by_their_samples_and_labels_stay() {
        let open = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1.5\n\
                    # HELP b Calls.\n# TYPE b counter\nb_total{x=\"# TYPE y counter\"} 2\n# EOF\n";
        let classic = "# HELP a_seconds Time.\n# TYPE a_seconds gauge\na_seconds 1.5\n\
                       # HELP b_total Calls.\n# TYPE b_total counter\nb_total{x=\"# TYPE y counter\"} 2\n";
        assert_eq!(from_open_metrics(open), classic);
    }
}
