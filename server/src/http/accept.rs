//! What type of answer a caller wants: `Accept`, as RFC 9110 has it in section 12.5.1.

use http::{HeaderMap, header};

/// Whether somebody wants a type, or says nothing of types. `ranges` are those that it is in, the most specific first, which
/// is the one that counts.
pub(super) fn accepts(headers: &HeaderMap, ranges: &[&str]) -> bool {
    !headers.contains_key(header::ACCEPT) || weight(headers, ranges).is_some_and(|weight| weight > 0.0)
}

/// How much somebody wants a type, from 0, which is not at all, to 1. `None`: no range that it is in is named.
pub(super) fn weight(headers: &HeaderMap, ranges: &[&str]) -> Option<f32> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let said: Vec<_> = values.flat_map(|value| value.split(',')).map(range).collect();
    ranges.iter().find_map(|range| {
        let weights = said.iter().filter(|(said, _)| said.eq_ignore_ascii_case(range)).map(|(_, weight)| *weight);
        weights.reduce(f32::max)
    })
}

/// A range and its weight. What is no weight is none that was said.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let weight = parts.find_map(|parameter| {
        let (name, weight) = parameter.split_once('=')?;
        if name.trim().eq_ignore_ascii_case("q") { weight.trim().parse().ok() } else { None }
    });
    (kind, weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];

    fn of(values: &[&str]) -> Option<f32> {
        let values = values.iter().map(|value| (header::ACCEPT, HeaderValue::from_str(value).unwrap()));
        weight(&values.collect(), &JSON)
    }

    #[test]
    fn the_most_specific_range_counts_wherever_it_stands() {
        assert_eq!(of(&["*/*;q=0.1, application/json;q=0"]), Some(0.0));
        assert_eq!(of(&["*/*;q=0.1", "Application/* ; Q=0.5, text/html"]), Some(0.5));
        assert_eq!(of(&["application/json;version=1;q=0.2, application/json;q=0.300"]), Some(0.3));
        assert_eq!(of(&["application/json;q=much"]), Some(1.0));
        assert_eq!((of(&["text/html"]), of(&[])), (None, None));
    }

    #[test]
    fn nought_is_not_at_all_in_as_many_digits_as_it_has() {
        for (value, is_wanted) in [("application/json;q=0.000", false), ("application/json;q=0.001", true), ("", false)]
        {
            let headers = [(header::ACCEPT, HeaderValue::from_str(value).unwrap())].into_iter().collect();
            assert_eq!(accepts(&headers, &JSON), is_wanted, "{value}");
        }
        assert!(accepts(&HeaderMap::new(), &JSON));
    }
}
