//! Compiles `.proto` files to a descriptor set, with the arguments that `prost-build` passes to `protoc`.

use prost::Message as _;
use std::process::ExitCode;

#[derive(Default)]
struct Arguments {
    includes: Vec<String>,
    files: Vec<String>,
    output: String,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--version" => {
                println!("libprotoc 0.0.0 (cofferdam, on protox)");
                return ExitCode::SUCCESS;
            }
            "-I" | "--proto_path" => parsed.includes.extend(arguments.next()),
            "-o" | "--descriptor_set_out" => parsed.output = arguments.next().unwrap_or_default(),
            // protox always keeps imports, source information and optional fields.
            "--include_imports" | "--include_source_info" | "--experimental_allow_proto3_optional" => {}
            other => match other.split_once('=') {
                Some(("--proto_path", path)) => parsed.includes.push(path.to_owned()),
                Some(("--descriptor_set_out", path)) => parsed.output = path.to_owned(),
                _ if other.starts_with("-I") => parsed.includes.push(other[2..].to_owned()),
                _ if other.starts_with('-') => return fail(&format!("unknown option {other}")),
                _ => parsed.files.push(other.to_owned()),
            },
        }
    }
    match compile(&parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn compile(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.output.is_empty() || arguments.files.is_empty() {
        return Err("usage: protoc -I DIRECTORY -o FILE PROTO_FILE...".into());
    }
    let descriptors = protox::compile(&arguments.files, &arguments.includes)?;
    std::fs::write(&arguments.output, descriptors.encode_to_vec())?;
    Ok(())
}

fn fail(message: &str) -> ExitCode {
    eprintln!("protoc stand-in: {message}");
    ExitCode::FAILURE
}
