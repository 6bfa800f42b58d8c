//! `cofferdam version`.

use clap::ValueEnum as _;
use cofferdam_server::config::StoreKind;
use std::io::{self, Write};

/// The package of the contract that this release speaks.
const CONTRACT: &str = "cofferdam.v1";

/// Says which version this is, and what is compiled in.
///
/// # Errors
///
/// The output cannot be written to.
pub(crate) fn print(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "cofferdam {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "contract  {CONTRACT}")?;
    let stores: Vec<_> = StoreKind::value_variants().iter().map(ToString::to_string).collect();
    writeln!(out, "stores    {}", stores.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_the_one_that_is_compiled_in() {
        let descriptors = cofferdam_proto::FILE_DESCRIPTOR_SET;
        assert!(descriptors.windows(CONTRACT.len()).any(|window| window == CONTRACT.as_bytes()));
    }
}
