use super::table::{Widths, print_row};
use super::*;
use cofferdam_proto::v1;
use std::time::Duration;

const PLAIN: Style = Style::new(false, false);

fn printed(table: &Table, style: Style) -> String {
    let mut out = Vec::new();
    table.print(&mut out, style).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_line_up_and_what_is_empty_is_a_hyphen() {
    let mut table = Table::new(["NAME", "STATE", "REV"]);
    table.push(vec!["payments".into(), Cell::toned("open 3/4", Tone::Bad), "20".into()]);
    table.push(vec!["s3".into(), "".into(), "7".into()]);
    assert_eq!(
        printed(&table, PLAIN),
        "NAME       STATE      REV\npayments   open 3/4   20\ns3         -          7\n"
    );
    let coloured = printed(&table, Style::new(true, false));
    assert!(coloured.contains("\u{1b}[31mopen 3/4\u{1b}[0m   20"), "padding follows the text: {coloured:?}");
    assert_eq!(printed(&table, Style::new(true, true)), printed(&table, PLAIN), "NO_COLOR");
}

#[test]
fn a_row_that_comes_later_keeps_the_columns() {
    let mut first = Table::new(["NAME", "REV"]);
    first.push(vec!["payments".into(), "20".into()]);
    let mut later = Table::new(["NAME", "REV"]);
    later.push(vec!["s3".into(), "7".into()]);
    let widths = later.widths(&first.widths(&Widths::default(), None), None);
    let mut out = Vec::new();
    print_row(&mut out, &later.rows()[0], &widths, PLAIN).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "s3         7\n");
}

#[test]
fn where_there_is_no_room_what_matters_least_gives_way_first_and_names_never() {
    let table = |rows: &[[&str; 4]]| {
        let mut table = Table::new(["NAME", "CALLS", "WHY", "REV"]).yielding(&[("WHY", 8), ("CALLS", 0), ("WHY", 0)]);
        rows.iter().for_each(|row| table.push(row.iter().map(|text| (*text).into()).collect()));
        table
    };
    let whole = table(&[["payments", "120", "the disk is full", "20"], ["s3", "7", "no", "7"]]);
    let within = |table: &Table, room: usize| {
        let mut out = Vec::new();
        table.print_within(&mut out, Style::new(true, false), Some(room)).unwrap();
        String::from_utf8(out).unwrap()
    };
    let all = "NAME       CALLS   WHY                REV\n\
               payments   120     the disk is full   20\n\
               s3         7       no                 7\n";
    assert_eq!((within(&whole, 41), printed(&whole, PLAIN)), (all.to_owned(), all.to_owned()));
    let cut = "NAME       CALLS   WHY            REV\n\
               payments   120     the disk is~   20\n\
               s3         7       no             7\n";
    assert_eq!(within(&whole, 37), cut);
    assert_eq!(within(&whole, 28), "NAME       WHY        REV\npayments   the dis~   20\ns3         no         7\n");
    for room in [0, 14] {
        assert_eq!(within(&whole, room), "NAME       REV\npayments   20\ns3         7\n", "{room}");
    }
    // What comes later keeps to the columns that are there.
    let widths = whole.widths(&Widths::default(), Some(28));
    let later = table(&[["orders-db", "1000000", "a long reason", "21"]]);
    let mut out = Vec::new();
    print_row(&mut out, &later.rows()[0], &later.widths(&widths, Some(28)), PLAIN).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "orders-db   a long~   21\n".replace("a long~", "a long ~"));
}

#[test]
fn a_document_is_the_contracts_json_in_the_contracts_order() {
    let service = v1::Service { name: "payments".into(), version: "1".into(), ..Default::default() };
    let mut out = Vec::new();
    document(&mut out, Format::Json, &service).unwrap();
    document(&mut out, Format::Yaml, &service).unwrap();
    document(&mut out, Format::Yaml, &service).unwrap();
    let yaml = "---\nname: payments\nversion: \"1\"\n";
    let json = "{\n  \"name\": \"payments\",\n  \"version\": \"1\"\n}\n";
    assert_eq!(String::from_utf8(out).unwrap(), format!("{json}{yaml}{yaml}"));
}

#[test]
fn maps_are_in_the_order_of_their_keys_each_time() {
    let labels = ["team", "cost", "tier", "area", "zone"].map(|key| (key.to_owned(), "1".to_owned()));
    let service = v1::Service { name: "payments".into(), labels: labels.into(), ..Default::default() };
    let answer = v1::ListIsolatedServicesResponse {
        services: vec![v1::IsolatedService { service: Some(service), ..Default::default() }],
        ..Default::default()
    };
    let mut out = Vec::new();
    document(&mut out, Format::Yaml, &answer).unwrap();
    let text = String::from_utf8(out).unwrap();
    let labels: Vec<_> = text.lines().skip_while(|line| !line.ends_with("labels:")).skip(1).take(5).collect();
    let expected = ["area", "cost", "team", "tier", "zone"];
    assert_eq!(
        labels.iter().map(|line| line.trim().split(':').next().unwrap()).collect::<Vec<_>>(),
        expected,
        "{text}"
    );
}

#[test]
fn figures_are_short() {
    let millis = |millis| Some(Duration::from_millis(millis));
    let lengths = [Some(Duration::from_micros(12)), millis(3), millis(90), millis(999), millis(2_100), millis(75_000)];
    assert_eq!(lengths.map(length), ["12us", "3.0ms", "90ms", "999ms", "2.1s", "75s"]);
    let ages = [0, 42, 60, 190, 7_260, 442_800].map(|seconds| age(Some(Duration::from_secs(seconds))));
    assert_eq!(ages, ["0s", "42s", "1m", "3m10s", "2h1m", "5d3h"]);
    assert_eq!([Some(6_120), Some(0), None].map(basis_points), ["61.2", "0.0", ""]);
    assert_eq!((rate(0.25).as_str(), rate(41.2).as_str()), ("0.2", "41"));
}

const EVIL: &str = "no\u{1b}[2J\nok   services    all fine\r\u{9b}1A\u{202e}\u{2028}";
const SHOWN: &str = r"no\u{1b}[2J\nok   services    all fine\r\u{9b}1A\u{202e}\u{2028}";

/// Before, an instance that refused a policy could clear the operator's screen, and write lines that looked like ours.
#[test]
fn what_others_say_is_one_line_that_a_terminal_shows_and_does_not_obey() {
    assert_eq!(super::printable(EVIL), SHOWN);
    assert_eq!(super::printable("caf\u{e9} \u{5e9}"), "caf\u{e9} \u{5e9}", "what is only foreign stays");
    assert_eq!(printable_lines("a\nb\u{7}"), "a\nb\\u{7}");
    for style in [PLAIN, Style::new(true, false)] {
        let mut bytes = Vec::new();
        let mut out: &mut (dyn Write + Send) = &mut Lines::over(&mut bytes, style);
        writeln!(out, "pay-3 refused: {EVIL}").unwrap();
        let mut table = Table::new(["WHY"]);
        table.push(vec![Cell::toned(EVIL, Tone::Bad)]);
        table.print(&mut out, style).unwrap();
        writeln!(out, "{}", style.paint(Tone::Warn, EVIL)).unwrap();
        out.write_all(b"bytes\x1b\n").unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let red = style.paint(Tone::Bad, SHOWN);
        let yellow = style.paint(Tone::Warn, SHOWN);
        assert_eq!(text, format!("pay-3 refused: {SHOWN}\nWHY\n{red}\n{yellow}\nbytes\u{1b}\n"));
    }
}

#[test]
fn a_document_says_all_of_it_without_what_a_terminal_obeys() {
    let service = v1::Service { description: EVIL.into(), ..Default::default() };
    for format in [Format::Json, Format::Yaml] {
        let mut out = Vec::new();
        document(&mut out, format, &service).unwrap();
        let text = String::from_utf8(out).unwrap();
        // A plain text of YAML has no way to escape what is no control character.
        let is_obeyed = |c: char| match format {
            Format::Json => printable(&c.to_string()) != c.to_string(),
            _ => c.is_control(),
        };
        assert!(!text.contains(|c| c != '\n' && is_obeyed(c)), "{text:?}");
        let read: serde_json::Value = match format {
            Format::Json => serde_json::from_str(&text).unwrap(),
            _ => crate::files::parse(std::path::Path::new("f"), &text).unwrap().remove(0),
        };
        assert_eq!(read["description"], EVIL, "{text:?}");
    }
}
