use super::super::Error;
use super::super::session::{ALL_NAMESPACES, Session};
use super::InstanceArgs;
use crate::commands::get::instances_of;
use crate::output::say;

/// Describes an instance, over every namespace.
pub(super) async fn run(args: &InstanceArgs, session: &mut Session<'_>) -> Result<(), Error> {
    if session.format.is_document() {
        let mend = "cofferdam get instances -o json";
        return Err(Error::usage("the contract has no message for one instance", mend));
    }
    ALL_NAMESPACES.clone_into(&mut session.namespace);
    let found = instances_of(&args.instance, session).await?;
    found.notes.iter().for_each(|note| say(note));
    if found.table.rows().is_empty() {
        return Err(Error::failed(format!("no instance {} is connected", args.instance), "cofferdam get clients -A"));
    }
    session.table(&found.table)
}
