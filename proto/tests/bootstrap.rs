//! The generated code and descriptors under `src/gen` are what the `.proto` files say.
//!
//! `COFFERDAM_REGENERATE=1 cargo test -p cofferdam-proto --test bootstrap` (that is `make proto`) writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    let fresh = tempfile::tempdir().unwrap();
    generate(root, fresh.path());

    if std::env::var_os("COFFERDAM_REGENERATE").is_some() {
        for file in files(fresh.path()) {
            fs::copy(&file, committed.join(file.file_name().unwrap())).unwrap();
        }
    }
    let names = |dir: &Path| files(dir).iter().map(|file| file.file_name().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        names(&committed),
        names(fresh.path()),
        "src/gen holds other files than the contract yields: run `make proto`"
    );
    for file in files(fresh.path()) {
        let name = file.file_name().unwrap();
        assert!(
            fs::read(&file).unwrap() == fs::read(committed.join(name)).unwrap(),
            "src/gen/{} is not what the .proto files say: run `make proto`",
            name.display()
        );
    }
}

fn generate(root: &Path, out: &Path) {
    let mut protos = files(&root.join("cofferdam/v1"));
    protos.extend(files(&root.join("cofferdam/storage/v1")));
    let mut compiler = protox::Compiler::new([root]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(&protos).unwrap();
    // The rules for HTTP are options, which the typed set of descriptors has no room for.
    fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        // Maps in key order, so that equal messages have equal encodings.
        .btree_map(".")
        .bytes(".")
        // Read from the descriptors alone.
        .extern_path(".google.api", "()")
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .out_dir(out)
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
