use super::super::Error;
use super::super::session::{ALL_NAMESPACES, Session};
use super::InstanceArgs;
use crate::commands::get::Window;
use crate::commands::get::instances::{self, Answer};
use crate::output::{Document, PrintError, Table, print_document, say};
use cofferdam_proto::v1;
use serde_json::{Value, json};

/// Describes an instance, over every namespace.
pub(super) async fn run(args: &InstanceArgs, session: &mut Session<'_>) -> Result<(), Error> {
    ALL_NAMESPACES.clone_into(&mut session.namespace);
    let answers = instances::all(&[], Window::ALL, session).await?;
    instances::notes(&answers).iter().for_each(|note| say(note));
    let of = |answer| instances_of(answer).map(move |instance| (answer, instance));
    let found: Vec<_> = answers.iter().flat_map(of).filter(|(_, one)| one.instance_id == args.instance).collect();
    let Some((_, first)) = found.first() else {
        return Err(Error::failed(format!("no instance {} is connected", args.instance), "cofferdam get clients -A"));
    };
    if session.format.is_document() {
        let services = found.iter().map(|(answer, instance)| service(answer, instance));
        let services = services.collect::<Result<Vec<_>, _>>()?;
        let described =
            json!({ "instanceId": first.instance_id, "application": first.application, "services": services });
        return Ok(print_document(session.out, session.format, &Document::Own(described))?);
    }
    let mut table = Table::new(instances::COLUMNS);
    found.iter().for_each(|(answer, instance)| table.push(instances::row(answer, instance, session)));
    session.table(&table)
}

fn instances_of(answer: &Answer) -> impl Iterator<Item = &v1::InstanceStats> {
    answer.stats.instances.iter()
}

/// Where it stands with a service; the figures as the contract has them.
fn service(answer: &Answer, instance: &v1::InstanceStats) -> Result<Value, PrintError> {
    let mut json = json!({
        "namespace": answer.namespace,
        "service": answer.service,
        "sync": instances::sync(answer.revision, instance.applied_revision).text(),
        "stats": Document::of(instance)?.to_value()?,
    });
    if let Some(revision) = &answer.revision {
        json["revision"] = Document::of(revision)?.to_value()?;
    }
    Ok(json)
}
