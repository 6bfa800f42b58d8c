//! "Did you mean": the registered names that are most like one that is not.

use cofferdam_core::name::ServiceKey;

use super::catalog::Catalog;
use crate::error::Error;

/// How many names are offered.
const OFFERED: usize = 3;

/// How alike two names have to be, of 1 for the same.
const ALIKE: f64 = 0.7;

/// The longest name, in bytes, that is compared with others: a body may hold one of millions.
const LONGEST: usize = 256;

/// The refusal for a service that is not registered.
pub(super) fn not_found(catalog: &Catalog, key: &ServiceKey) -> Error {
    let names = catalog.services_in(Some(&key.namespace), None).map(|registered| registered.key().name.as_str());
    Error::ServiceNotFound { key: key.clone(), nearest: nearest(key.name.as_str(), names) }
}

/// Those of `names` that are most like `name`, best first.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    if name.len() > LONGEST {
        return Vec::new();
    }
    let scored = names.map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let mut alike: Vec<_> = scored.filter(|(score, _)| *score >= ALIKE).collect();
    alike.sort_by(|(left, a), (right, b)| right.total_cmp(left).then_with(|| a.cmp(b)));
    alike.into_iter().take(OFFERED).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_is_alike_best_first() {
        let names = ["payments", "payment-gateway", "orders", "payroll"];
        assert_eq!(nearest("paymnets", names.into_iter())[0], "payments");
        assert_eq!(nearest("zzz", names.into_iter()), [] as [&str; 0]);
        assert_eq!(nearest(&"payments".repeat(100), names.into_iter()), [] as [&str; 0], "no name is so long");
    }
}
