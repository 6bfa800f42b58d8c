//! The table in `docs/metrics.md`, beside the metrics that there are.

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/metrics.md");

/// A metric as a row of the table.
fn row(family: &Family) -> String {
    let (suffix, kind) = match family.kind {
        Kind::Counter => ("_total", "counter"),
        Kind::Gauge => ("", "gauge"),
        Kind::Histogram => ("", "histogram"),
    };
    let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
    let Family { name, help, .. } = family;
    format!("| `{name}{suffix}` | {kind} | {} | {help} |", labels.join(" "))
}

#[test]
fn the_table_has_every_metric_and_no_other() {
    let documented: Vec<_> = REFERENCE.lines().filter(|line| line.starts_with("| `")).collect();
    let documented: Vec<_> = documented
        .into_iter()
        .filter(|line| line.starts_with("| `cofferdam_") || line.starts_with("| `process_"))
        .collect();
    let rows: Vec<_> = ALL.iter().map(row).collect();
    assert_eq!(
        documented.iter().collect::<BTreeSet<_>>(),
        rows.iter().map(|row| row.as_str()).collect::<Vec<_>>().iter().collect()
    );
    assert_eq!(documented.len(), rows.len());
}

#[test]
fn names_and_words_are_those_of_prometheus() {
    for family in ALL {
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(is_plain(family.name) && family.labels.iter().all(|label| is_plain(label)), "{}", family.name);
        assert!(family.help.ends_with('.') && !family.help.contains(['\\', '\n', '|']), "{}", family.help);
        assert!(!family.name.ends_with("_total"), "{}: it is added", family.name);
        assert!(family.kind != Kind::Histogram || family.name.ends_with("_seconds"), "{}", family.name);
    }
}
