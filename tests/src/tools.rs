//! The programs that the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The checkout.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout")
}

/// The `cofferdam` binary of this checkout, never a stale one: cargo is asked to build it, once for all tests, and
/// answers at once where there is nothing to build. (Cargo tells a test where the binaries of its own package are, not
/// those of another one.)
///
/// # Panics
///
/// If it does not build.
pub fn manager_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(workspace_root()).args([
            "build",
            "--package=cofferdam-cli",
            "--bin=cofferdam",
            "--message-format=json-render-diagnostics",
        ]);
        // What cargo tells tests of their own package, some build scripts take for news of theirs: all that depends on them
        // would be built again here, and once more by whoever builds next.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix)) {
                build.env_remove(&*name);
            }
        }
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let output = build.output().expect("cargo starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cofferdam does not build:\n{errors}");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
            .expect("cargo says where the binary is")
    })
}

/// A program that `make setup` brings: from `.tools/bin` of the checkout, else from the `PATH`.
///
/// # Panics
///
/// If it is in neither. A test that needs it fails, it is never skipped.
pub(crate) fn tool(name: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(workspace_root().join(".tools/bin"))
        .chain(std::env::split_paths(&paths))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("no {name} in .tools/bin or on the PATH: run `make setup`"))
}
