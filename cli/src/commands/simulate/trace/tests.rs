use super::*;

fn read(text: &str) -> Result<Vec<Record>, String> {
    Trace::read(text.as_bytes()).map(|trace| trace.records).map_err(|fault| fault.to_string())
}

fn record(at: u64, said: Said) -> Record {
    Record {
        at: Duration::from_millis(at),
        method: String::new(),
        pool: None,
        latency: Duration::ZERO,
        said,
        is_idempotent: false,
        has_reached: true,
    }
}

#[test]
fn lines_of_json_are_calls_in_the_order_in_which_they_began() {
    let text = r#"
{"at": "2.5s", "code": "unavailable", "reached": false}
{"at": 1, "method": "shop.Pay/Get", "latency": "20ms", "http": 503, "idempotent": true, "pool": "reads"}

{"at": "1.25", "outcome": "neutral"}
"#;
    let get = Record {
        method: "shop.Pay/Get".to_owned(),
        pool: Some("reads".to_owned()),
        latency: Duration::from_millis(20),
        is_idempotent: true,
        ..record(0, Said::Http(503))
    };
    let refused = Record { has_reached: false, ..record(1_500, Said::Grpc(14)) };
    assert_eq!(read(text).unwrap(), [get, record(250, Said::Outcome(Outcome::Neutral)), refused]);
}

#[test]
fn csv_says_the_same_by_the_names_of_its_columns() {
    let text = "at,latency,code,method\n2026-11-22T05:00:01+02:00,20ms,14,Get\n2026-11-22T03:00:00Z,,OK,\n";
    let get = Record { method: "Get".to_owned(), latency: Duration::from_millis(20), ..record(1_000, Said::Grpc(14)) };
    assert_eq!(read(text).unwrap(), [record(0, Said::Grpc(0)), get]);
}

/// Before, the first column was no column.
#[test]
fn a_mark_at_the_beginning_is_no_part_of_the_first_line() {
    for text in ["\u{feff}at,code\n1,0\n", "\u{feff}{\"at\": 1, \"code\": 0}\n"] {
        assert_eq!(read(text).unwrap(), [record(0, Said::Grpc(0))]);
    }
}

#[test]
fn what_is_no_call_is_named_with_its_line() {
    let table = [
        ("", "line 1: the trace has no calls"),
        ("at,code\n", "line 1: the trace has no calls"),
        ("{\"at\": 1, \"code\": 0}\n{\"at\": \"soon\", \"code\": 0}", "line 2: at must be seconds"),
        ("{\"at\": -1, \"code\": 0}", "line 1: at must be seconds"),
        ("{\"at\": 1, \"code\": 17}", "line 1: code must be a gRPC status code"),
        ("{\"at\": 1, \"code\": \"TEAPOT\"}", "TEAPOT"),
        ("{\"at\": 1, \"http\": 99}", "line 1: http must be a status"),
        ("{\"at\": 1, \"http\": 200, \"code\": 0}", "line 1: must have one of code, http and outcome"),
        ("{\"at\": 1}", "line 1: must have one of code, http and outcome"),
        (
            "{\"at\": 5, \"code\": 0}\n{\"at\": \"2026-11-22T03:00:00Z\", \"code\": 0}",
            "line 2: at must be a time of day in all",
        ),
        ("{\"at\": 1, \"code\": 0, \"latency\": \"2026-11-22T03:00:00Z\"}", "latency must be seconds"),
        ("[\n{\"at\": 1, \"code\": 0}\n]", "line 1: a list of calls is none"),
        ("{\"at\": 1, \"outcome\": \"fine\"}", "outcome must be"),
        ("{\"at\": 1, \"latencey\": 1}", "unknown field `latencey`"),
        ("{\"at\": 1, \"code\": 0, \"idempotent\": 3}", "idempotent must be true or false"),
        ("at,code,at\n1,2,3", "line 1: two columns are called at"),
        ("at,code\n1,2,3", "line 2: has 3 cells and not 2"),
        ("{\"at\": 1", "line 1: EOF"),
    ];
    for (text, words) in table {
        let error = read(text).unwrap_err();
        assert!(error.contains(words), "{text:?}: {error}");
    }
    assert!(Trace::read(&[0xff, b'\n']).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn a_later_attempt_meets_what_the_service_did_last() {
    let trace = Trace::read(
        b"{\"at\": 0, \"method\": \"a\", \"code\": 14}\n{\"at\": 1, \"method\": \"b\", \"code\": 0}\n{\"at\": 2, \"code\": 13}",
    )
    .unwrap();
    let met = |millis, method: &str| trace.at(Duration::from_millis(millis), method).unwrap().said;
    assert_eq!(met(1_500, "a"), Said::Grpc(14), "of its own method");
    assert_eq!(met(1_500, "c"), Said::Grpc(0), "else of whatever was called");
    assert_eq!(met(9_000, "c"), Said::Grpc(13));
}
