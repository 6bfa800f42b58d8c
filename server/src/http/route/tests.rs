use super::*;

fn table(templates: &[&str]) -> Table<usize> {
    let mut table = Table::default();
    for (number, template) in templates.iter().enumerate() {
        table.add(Route::new(Method::GET, template, number).unwrap());
    }
    table
}

fn find(table: &Table<usize>, path: &str) -> Option<(usize, String)> {
    match table.find(&Method::GET, path) {
        Ok(Found::Target(number, variables)) => {
            Some((*number, variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()))
        }
        _ => None,
    }
}

#[test]
fn a_path_is_found_by_its_segments_and_its_verb() {
    let table = table(&["/v1/services", "/v1/services/{service}", "/v1/services/{service}:execute", "/v1/wait:now"]);
    let found = |number, variables: &str| Some((number, variables.to_owned()));
    assert_eq!(find(&table, "/v1/services"), found(0, ""));
    assert_eq!(find(&table, "/v1/services/a.b-c_d"), found(1, "service=a.b-c_d"));
    assert_eq!(find(&table, "/v1/services/%61%3Ab"), found(1, "service=a:b"));
    assert_eq!(find(&table, "/v1/services/a:execute"), found(2, "service=a"));
    assert_eq!(find(&table, "/v1/wait:now"), found(3, ""));
    for none in [
        "",
        "/",
        "/v1",
        "/v1/services/",
        "/v1//a",
        "/v1/services/a:other",
        "/v1/services/a:execute:now",
        "/v1/wait",
        "*",
    ] {
        assert_eq!(find(&table, none), None, "{none}");
    }
}

#[test]
fn templates_that_cannot_be_served_are_refused() {
    for wrong in ["", "v1", "/v1/*", "/v1/{name=shelves/*}", "/v1/{a", "/v1/{}", "/v1//a", "/v1/**"] {
        assert!(Route::new(Method::GET, wrong, 0).is_err(), "{wrong}");
    }
}
