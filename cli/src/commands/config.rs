//! `cofferdam config`: contexts.

use super::session::contexts_path;
use super::{Error, Surroundings};
use crate::client::{Client, Patience};
use crate::contexts::{self, DEFAULT_PATIENCE};
use crate::output::{Style, Table, say};
use clap::{Args, Subcommand, ValueEnum};
use cofferdam_core::name::Name;
use std::io::Write;

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List contexts; the current one has a star.
    GetContexts(GetContextsArgs),
    /// Make a context the current one.
    UseContext(UseContextArgs),
    /// Add a context, or change it; the first one becomes the current one.
    SetContext(SetContextArgs),
    /// Forget a context; where it was the current one, none is.
    DeleteContext(UseContextArgs),
}

/// How contexts are listed.
#[derive(Args, Debug)]
pub(crate) struct GetContextsArgs {
    /// How they are printed
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// How contexts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// Names alone, one a line
    Name,
}

/// Which context.
#[derive(Args, Debug)]
pub(crate) struct UseContextArgs {
    /// The context
    name: String,
}

/// What a context is.
#[derive(Args, Debug)]
pub(crate) struct SetContextArgs {
    /// The context
    name: String,
    /// The manager [default: as it is]
    #[arg(long, short, value_name = "URL")]
    server: Option<String>,
    /// The namespace [default: as it is]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
}

/// Does it.
pub(super) fn run(command: ConfigCommand, surroundings: &Surroundings, out: &mut dyn Write) -> Result<(), Error> {
    let path = contexts_path()?;
    let mut contexts = contexts::load(&path)?;
    match command {
        ConfigCommand::GetContexts(args) if args.output == Form::Name => {
            Ok(contexts.iter().try_for_each(|(name, _)| writeln!(out, "{name}"))?)
        }
        ConfigCommand::GetContexts(_) => {
            let mut table = Table::new(["CURRENT", "NAME", "SERVER", "NAMESPACE"]);
            for (name, context) in contexts.iter() {
                let current = if contexts.current() == Some(name) { "*" } else { "" };
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                table.push(vec![
                    current.into(),
                    name.into(),
                    text(&context.server).into(),
                    text(&context.namespace).into(),
                ]);
            }
            if table.rows().is_empty() {
                say("there are no contexts");
                say("try: cofferdam config set-context NAME --server URL");
                return Ok(());
            }
            Ok(table.print(out, Style::new(surroundings.is_terminal, surroundings.no_color))?)
        }
        ConfigCommand::UseContext(args) => {
            contexts.choose(&args.name)?;
            contexts::save(&path, &contexts)?;
            say(&format!("{} is the current context", args.name));
            Ok(())
        }
        ConfigCommand::DeleteContext(args) => {
            contexts.remove(&args.name)?;
            contexts::save(&path, &contexts)?;
            say(&format!("context {} is deleted", args.name));
            Ok(())
        }
        ConfigCommand::SetContext(args) => {
            if args.name.is_empty() {
                return Err(Error::usage("a context has a name", "cofferdam config set-context NAME --server URL"));
            }
            if let Some(server) = &args.server {
                Client::new(server, "", Patience::Each(DEFAULT_PATIENCE))?;
            }
            if let Some(namespace) = &args.namespace
                && let Err(error) = Name::new(namespace)
            {
                let mend = format!("cofferdam config set-context {} --namespace NAME", args.name);
                return Err(Error::usage(format!("the namespace {namespace:?} is no name: {error}"), mend));
            }
            contexts.set(&args.name, args.server, args.namespace);
            contexts::save(&path, &contexts)?;
            say(&format!("context {} is set in {}", args.name, path.display()));
            Ok(())
        }
    }
}
