//! `cofferdam graph`: who needs whom.

use super::Error;
use super::session::{Common, ServiceName, Session};
use crate::client::PAGE;
use crate::output::{Cell, Format, Table, Tone, say};
use clap::{Args, ValueEnum};
use cofferdam_proto::v1;

pub(super) const HELP: &str = "\
LAYER is the order to start in: what is in a layer needs only layers below.

Exit codes: 0 all is well, 3 there is a cycle.

Examples:
  cofferdam graph
  cofferdam graph orders-db
  cofferdam graph --as mermaid";

/// A language for drawings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
}

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct GraphArgs {
    /// Only this service, what it needs and what needs it [default: all of the namespace]
    service: Option<ServiceName>,
    /// Print it for a program that draws
    #[arg(long = "as", value_name = "LANGUAGE", value_enum)]
    language: Option<Language>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Does it.
pub(super) async fn run(args: &GraphArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let (namespace, service) =
        args.service.as_ref().map_or_else(|| (session.namespace.clone(), String::new()), |name| session.place(name));
    let mut all = v1::GetDependencyGraphResponse::default();
    loop {
        let request = v1::GetDependencyGraphRequest {
            namespace: namespace.clone(),
            service: service.clone(),
            page_size: PAGE,
            page_token: all.next_page_token.clone(),
        };
        let mut page = session.client.call(request).await?;
        let more = std::mem::take(&mut page.next_page_token);
        page.nodes.splice(0..0, all.nodes);
        all = page;
        all.next_page_token.clone_from(&more);
        if more.is_empty() {
            break;
        }
    }
    match (args.language, session.format) {
        (Some(Language::Dot), _) => session.out.write_all(dot(&all.nodes).as_bytes())?,
        (Some(Language::Mermaid), _) => session.out.write_all(mermaid(&all.nodes).as_bytes())?,
        (None, Format::Json | Format::Yaml) => session.document(&all)?,
        (None, Format::Name) => {
            for node in &all.nodes {
                writeln!(session.out, "{}", session.shown(&namespace, &node.service))?;
            }
        }
        (None, Format::Table | Format::Wide) => {
            session.table(&table(&mut all.nodes))?;
            if let Some(impact) = &all.impact {
                writeln!(session.out)?;
                writeln!(session.out, "{}", lost(&service, impact))?;
            }
        }
    }
    session.out.flush()?;
    let mut cycles: Vec<_> = all.cycles.iter().map(|cycle| way_round(&cycle.services)).collect();
    if cycles.is_empty() {
        return Ok(());
    }
    say(&format!("{} of services that need one another", cycles.len()));
    cycles.push("try: cofferdam register SERVICE --depends-on ...".to_owned());
    Err(Error::Degraded(cycles))
}

/// By layers, what has none last.
fn table(nodes: &mut [v1::DependencyNode]) -> Table {
    nodes.sort_by(|a, b| (a.layer.is_none(), a.layer, &a.service).cmp(&(b.layer.is_none(), b.layer, &b.service)));
    let mut table = Table::new(["LAYER", "SERVICE", "STATUS", "NEEDS", "BECAUSE OF"]);
    for node in nodes {
        table.push(vec![
            node.layer.map_or_else(|| "cycle".to_owned(), |layer| layer.to_string()).into(),
            node.service.as_str().into(),
            status(node),
            node.dependencies.iter().map(needed).collect::<Vec<_>>().join(" ").into(),
            node.cause.join(" <- ").into(),
        ]);
    }
    table
}

fn status(node: &v1::DependencyNode) -> Cell {
    if !node.registered {
        return Cell::toned("not registered", Tone::Warn);
    }
    let tone = match node.status() {
        v1::HealthStatus::Healthy => Tone::Good,
        v1::HealthStatus::Degraded => Tone::Warn,
        v1::HealthStatus::Unhealthy | v1::HealthStatus::CircuitOpen => Tone::Bad,
        v1::HealthStatus::Unspecified => return Cell::default(),
    };
    Cell::toned(node.status().as_str_name().trim_start_matches("HEALTH_STATUS_").to_lowercase(), tone)
}

fn is_optional(dependency: &v1::Dependency) -> bool {
    dependency.kind() == v1::DependencyKind::Optional
}

/// As `register --depends-on` takes it.
fn needed(dependency: &v1::Dependency) -> String {
    let kind = if is_optional(dependency) { ":optional" } else { "" };
    format!("{}{kind}", dependency.service)
}

fn lost(service: &str, impact: &v1::DependencyImpact) -> String {
    let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!(
        "without {service}: {} would not work, {} would work with less",
        list(&impact.unhealthy),
        list(&impact.degraded)
    )
}

fn way_round(services: &[String]) -> String {
    let back = services.first().cloned();
    services.iter().cloned().chain(back).collect::<Vec<_>>().join(" -> ")
}

fn dot(nodes: &[v1::DependencyNode]) -> String {
    let mut text = "digraph services {\n  rankdir=LR;\n".to_owned();
    for node in nodes {
        text.push_str(&format!("  \"{}\";\n", node.service));
        for dependency in &node.dependencies {
            let style = if is_optional(dependency) { " [style=dashed]" } else { "" };
            text.push_str(&format!("  \"{}\" -> \"{}\"{style};\n", node.service, dependency.service));
        }
    }
    text + "}\n"
}

/// Names of services may mean something in Mermaid, so nodes are numbered and names are labels.
fn mermaid(nodes: &[v1::DependencyNode]) -> String {
    let mut text = "flowchart LR\n".to_owned();
    let number = |name: &str| nodes.iter().position(|node| node.service == name);
    for (index, node) in nodes.iter().enumerate() {
        text.push_str(&format!("  n{index}[\"{}\"]\n", node.service));
        for dependency in &node.dependencies {
            let arrow = if is_optional(dependency) { "-.->" } else { "-->" };
            if let Some(other) = number(&dependency.service) {
                text.push_str(&format!("  n{index} {arrow} n{other}\n"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(service: &str, layer: Option<u32>, dependencies: &[(&str, v1::DependencyKind)]) -> v1::DependencyNode {
        let of = |(service, kind): &(&str, v1::DependencyKind)| v1::Dependency {
            service: (*service).to_owned(),
            kind: (*kind).into(),
        };
        v1::DependencyNode {
            service: service.to_owned(),
            registered: true,
            layer,
            dependencies: dependencies.iter().map(of).collect(),
            ..v1::DependencyNode::default()
        }
    }

    fn nodes() -> Vec<v1::DependencyNode> {
        let (critical, optional) = (v1::DependencyKind::Critical, v1::DependencyKind::Optional);
        vec![
            node("cache", Some(0), &[]),
            node("db", Some(0), &[]),
            node("wallet", Some(1), &[("db", critical), ("cache", optional)]),
        ]
    }

    #[test]
    fn b4_a_graph_can_be_drawn() {
        let dot = dot(&nodes());
        assert!(dot.starts_with("digraph services {\n") && dot.ends_with("}\n"));
        assert!(dot.contains("  \"wallet\" -> \"db\";\n  \"wallet\" -> \"cache\" [style=dashed];\n"), "{dot}");
        let mermaid = mermaid(&nodes());
        assert!(mermaid.contains("  n2[\"wallet\"]\n  n2 --> n1\n  n2 -.-> n0\n"), "{mermaid}");
    }

    #[test]
    fn a_cycle_is_told_as_the_way_round() {
        assert_eq!(way_round(&["a".to_owned(), "b".to_owned()]), "a -> b -> a");
    }

    #[test]
    fn what_is_lost_is_told_by_what_it_means() {
        let impact = v1::DependencyImpact { unhealthy: vec!["wallet".into(), "shop".into()], degraded: vec![] };
        assert_eq!(lost("db", &impact), "without db: wallet, shop would not work, nothing would work with less");
    }
}
