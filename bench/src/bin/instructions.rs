//! `instructions check FILE`: holds every operation to its bound. `record FILE`: writes the bounds anew. `run NAME
//! COUNT`: what both run under valgrind.

use cofferdam_bench::bounds::Bounds;
use cofferdam_bench::cases::operations;
use cofferdam_bench::conditions::rustc;
use cofferdam_bench::profile::{Cost, cost};
use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

const USAGE: &str = "usage: instructions check FILE | record FILE | run NAME COUNT";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", name, count] => {
            let (_, make) = operations().into_iter().find(|(known, _)| *known == name).ok_or("no such operation")?;
            (make().run)(count.parse()?);
        }
        ["check", file] => {
            let bounds: Bounds = toml::from_str(&fs::read_to_string(file)?)?;
            return check(&bounds, file);
        }
        ["record", file] => {
            let costs = costs()?;
            fs::write(file, Bounds::record(&rustc(), &costs))?;
            costs.iter().for_each(|(name, cost)| println!("{}", line(name, cost, "")));
        }
        _ => return Err(USAGE.into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(bounds: &Bounds, file: &str) -> Result<ExitCode, Box<dyn Error>> {
    let rustc = rustc();
    if rustc != bounds.rustc {
        println!("The bounds are those of {}; this is {rustc}, which gets a wider margin.", bounds.rustc);
    }
    let costs = costs()?;
    let mut complaints = 0;
    for (name, cost) in &costs {
        let complaint = bounds.complaint(&rustc, name, cost);
        complaints += usize::from(complaint.is_some());
        let bound = bounds.operations.get(*name).map_or(String::new(), |bound| format!("of {}", bound.instructions));
        println!(
            "{}  {}",
            line(name, cost, &bound),
            complaint.map_or("ok".to_owned(), |text| format!("FAILED: {text}"))
        );
    }
    for name in bounds.operations.keys().filter(|name| costs.iter().all(|(known, _)| known != name)) {
        complaints += 1;
        println!("{name:<28} FAILED: there is no such operation any more");
    }
    if complaints == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{file} says how to record new bounds, where the change is meant.");
    Ok(ExitCode::FAILURE)
}

fn costs() -> Result<Vec<(&'static str, Cost)>, Box<dyn Error>> {
    let program = env::current_exe()?;
    operations().into_iter().map(|(name, _)| Ok((name, cost(&program, name)?))).collect()
}

fn line(name: &str, cost: &Cost, bound: &str) -> String {
    let called: Vec<String> = cost.called.iter().map(|(name, count)| format!("{count:.1} {name}")).collect();
    format!(
        "{name:<28} {:>7.1} {bound:<8} calls: {}",
        cost.instructions,
        if called.is_empty() { "none".to_owned() } else { called.join(", ") }
    )
}
