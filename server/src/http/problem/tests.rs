use super::*;

#[test]
fn each_code_has_the_status_that_google_gives_it() {
    let of = |code: i32, reason: &str, is_conditional| {
        let metadata = [("current_revision".to_owned(), "7".to_owned())].into();
        let refusal = Refusal { code, reason: reason.to_owned(), metadata, ..Refusal::default() };
        Problem::from_refusal(refusal, is_conditional).into_response().status().as_u16()
    };
    let statuses: Vec<_> = (1..17).map(|code| of(code, "", false)).collect();
    assert_eq!(statuses, [400, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]);
    assert_eq!((of(10, "REVISION_MISMATCH", true), of(10, "REVISION_MISMATCH", false)), (412, 409));
    let outrun = Refusal { code: 10, reason: "REVISION_MISMATCH".to_owned(), ..Refusal::default() };
    assert_eq!(Problem::from_refusal(outrun, true).into_response().status().as_u16(), 409, "the tag may be right");
    assert_eq!((of(8, "PAYLOAD_TOO_LARGE", false), of(99, "", false), of(-1, "", false)), (413, 500, 500));
}

#[test]
fn who_may_come_again_is_told_when_in_whole_seconds() {
    for (after, header) in [(Duration::from_millis(1), "1"), (Duration::from_secs(2), "2"), (Duration::ZERO, "0")] {
        let refusal = Refusal { code: 14, retry_after: Some(after), ..Refusal::default() };
        let response = Problem::from_refusal(refusal, false).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], header);
    }
}
