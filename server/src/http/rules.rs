//! Which RPCs have which paths: the contract's `google.api.http` options.

use http::{Method, uri::PathAndQuery};
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MessageDescriptor};

/// The service of the operators; instances and managers talk gRPC among themselves.
const SERVICE: &str = "cofferdam.v1.IsolationService";

/// The option's name.
const OPTION: &str = "google.api.http";

/// The methods that a rule can name, by the rule's own fields.
const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("patch", Method::PATCH),
];

/// An RPC, and how its request is said in HTTP.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    /// What gRPC calls it: `/package.Service/Method`.
    pub(super) method: PathAndQuery,
    /// Its request.
    pub(super) input: MessageDescriptor,
    /// Its answer.
    pub(super) output: MessageDescriptor,
    /// What of the request the body is.
    pub(super) body: BodyRule,
    /// Whether it answers with a stream.
    pub(super) is_stream: bool,
}

impl Rpc {
    /// Its name without its service's.
    pub(super) fn name(&self) -> &str {
        self.method.path().rsplit('/').next().unwrap_or_default()
    }
}

/// What of a request the body is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum BodyRule {
    /// Nothing: there is none.
    None,
    /// All of it that is not in path and query.
    Whole,
    /// This field.
    Field(FieldDescriptor),
}

/// Each path with its method and its RPC.
///
/// # Errors
/// What is wrong with which rule.
pub(super) fn read(pool: &DescriptorPool) -> Result<Vec<(Method, String, Rpc)>, String> {
    let service = pool.get_service_by_name(SERVICE).ok_or_else(|| format!("there is no {SERVICE}"))?;
    let option = pool.get_extension_by_name(OPTION).ok_or_else(|| format!("there is no {OPTION}"))?;
    let mut routes = Vec::new();
    for method in service.methods() {
        let name = method.full_name().to_owned();
        let at_fault = |what: &str| format!("{name}: {what}");
        let path = format!("/{SERVICE}/{}", method.name());
        let grpc = PathAndQuery::try_from(path).map_err(|error| at_fault(&error.to_string()))?;
        let is_stream = method.is_server_streaming();
        let rules = rules(&method.options(), &option);
        for rule in rules {
            let (verb, path) = pattern(&rule).ok_or_else(|| at_fault("its rule has no path"))?;
            let body = body(&rule, &method.input()).map_err(|what| at_fault(&what))?;
            let rpc = Rpc { method: grpc.clone(), input: method.input(), output: method.output(), body, is_stream };
            routes.push((verb, path, rpc));
        }
    }
    Ok(routes)
}

/// The rule of a method, and those that it has beside it.
fn rules(options: &DynamicMessage, option: &ExtensionDescriptor) -> Vec<DynamicMessage> {
    if !options.has_extension(option) {
        return Vec::new();
    }
    let rule = options.get_extension(option);
    let Some(rule) = rule.as_message() else { return Vec::new() };
    let more = rule.get_field_by_name("additional_bindings");
    let more = more.as_ref().and_then(|more| more.as_list()).unwrap_or_default();
    let more = more.iter().filter_map(|rule| rule.as_message().cloned());
    std::iter::once(rule.clone()).chain(more).collect()
}

fn text(rule: &DynamicMessage, field: &str) -> Option<String> {
    let value = rule.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn pattern(rule: &DynamicMessage) -> Option<(Method, String)> {
    METHODS.into_iter().find_map(|(field, method)| Some((method, text(rule, field)?)))
}

fn body(rule: &DynamicMessage, input: &MessageDescriptor) -> Result<BodyRule, String> {
    match text(rule, "body").as_deref() {
        None => Ok(BodyRule::None),
        Some("*") => Ok(BodyRule::Whole),
        Some(name) => {
            let field = input.get_field_by_name(name).filter(|field| field.kind().as_message().is_some());
            field.map(BodyRule::Field).ok_or_else(|| format!("its body is {name:?}, which is no message of it"))
        }
    }
}

#[cfg(test)]
mod tests;
