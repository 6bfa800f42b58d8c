use super::*;
use crate::{clock::testing::FixedClock, testing::EPOCH};
use cofferdam_core::name::{Name, ServiceKey};
use std::time::UNIX_EPOCH;

mod turns;

fn events(keep: usize) -> Events {
    Events::new(Arc::new(FixedClock(EPOCH)), EventsOptions { keep, is_shared: false })
}

fn came(id: &str) -> News {
    News::instance(v1::InstanceChange::Came, &Name::new("default").unwrap(), id, "shop")
}

fn ids(page: &Page) -> Vec<&str> {
    page.events.iter().map(|event| event.instance_id.as_str()).collect()
}

#[test]
fn what_is_told_is_numbered_and_kept_in_order() {
    let events = events(10);
    for id in ["a", "b", "c"] {
        events.tell(came(id));
    }
    events.tell_at(came("d"), Duration::from_secs(5));
    let all = events.after(0, 10, &Filter::default());
    assert_eq!((ids(&all), all.through, all.lost, all.has_more), (vec!["a", "b", "c", "d"], 4, 0, false));
    let numbers: Vec<_> = all.events.iter().map(|event| number_of(event).unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(all.events.iter().all(|event| event.manager_id == events.manager_id()));
    let time = |at: usize| filter::time_of(&all.events[at]).unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert_eq!((time(0), time(3)), (u128::from(EPOCH), u128::from(EPOCH) - 5_000), "by the time that it happened");
    let next = events.after(2, 1, &Filter::default());
    assert_eq!((ids(&next), next.through, next.has_more), (vec!["c"], 3, true));
    assert_eq!(ids(&events.newest(2, &Filter::default())), ["c", "d"]);
    assert_eq!(*events.last().borrow(), 4);
}

#[test]
fn whoever_is_too_slow_is_told_how_many_are_lost() {
    let events = events(3);
    for id in ["a", "b", "c", "d", "e"] {
        events.tell(came(id));
    }
    let page = events.after(1, 10, &Filter::default());
    assert_eq!((ids(&page), page.lost), (vec!["c", "d", "e"], 1), "b is lost, and it is said");
    assert_eq!(events.after(2, 10, &Filter::default()).lost, 0);
    assert_eq!(events.newest(10, &Filter::default()).lost, 2, "whoever lists is told as well");
    // A number of another life of the manager is no place here.
    assert_eq!(events.after(77, 10, &Filter::default()).lost, 2);
    // What is asked for is all there: what was lost is older.
    let since = |seconds| {
        Filter::default().since(Some(UNIX_EPOCH + Duration::from_millis(EPOCH) + Duration::from_secs(seconds)))
    };
    assert_eq!(events.after(0, 10, &since(1)).lost, 0);
    assert_eq!(events.after(0, 10, &since(0)).lost, 2, "what was lost may have been as new");
}

#[test]
fn large_events_make_room_for_themselves() {
    let events = events(4);
    let long =
        |id: &str| News::instance(v1::InstanceChange::Came, &Name::new("default").unwrap(), id, &"x".repeat(700));
    for id in ["a", "b", "c"] {
        events.tell(long(id));
    }
    let page = events.after(0, 10, &Filter::default());
    assert_eq!((ids(&page), page.lost), (vec!["b", "c"], 1), "four KiB hold two of these");
    events.tell(News::instance(v1::InstanceChange::Came, &Name::new("default").unwrap(), "d", &"x".repeat(9_000)));
    assert_eq!(ids(&events.after(0, 10, &Filter::default())), ["d"], "one is kept whatever its size");
}

#[test]
fn after_the_last_event_there_is_none() {
    let events = events(10);
    let mut last = events.last();
    last.borrow_and_update();
    events.close(News::manager(v1::ManagerChange::Stopped, events.manager_id(), "", ""));
    assert!(last.has_changed().unwrap(), "who waits is woken");
    events.tell(came("a"));
    let page = events.after(0, 10, &Filter::default());
    assert_eq!((page.events.len(), page.is_closed), (1, true));
}

#[test]
fn a_cursor_reads_as_it_is_written_and_nothing_else_does() {
    let mut cursor = Cursor::since(UNIX_EPOCH + Duration::from_millis(EPOCH));
    assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
    cursor.set("a1", 7);
    cursor.set("b2", u64::MAX);
    cursor.set("c3", 9);
    cursor.end("c3");
    assert_eq!(cursor.to_string(), format!("{EPOCH},a1.7,b2.{},c3~9", u64::MAX));
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    let many = (0..65).map(|id| format!(",m{id}.1")).collect::<String>();
    for text in [
        "",
        "a",
        ",a",
        ",a.",
        ",.1",
        ",a.1,",
        ",a.1,a.2",
        ",a.1,a~1",
        ",a.-1",
        ",a.+1",
        ",a.1.1",
        ",a~1.1",
        ",a~.1",
        ",ä.1",
        ",a.18446744073709551616",
        ",18446744073709551616",
        &many,
    ] {
        assert_eq!(format!("1{text}").parse::<Cursor>().err(), Some(NoCursor).filter(|_| !text.is_empty()), "{text:?}");
    }
    for text in ["", "a.1", "-1", "18446744073709551616"] {
        assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text:?}");
    }
}

#[test]
fn a_cursor_forgets_the_first_of_those_that_are_over_and_goes_on_with_one_that_is_back() {
    let mut cursor = Cursor::since(UNIX_EPOCH);
    for number in 0..100 {
        let id = format!("m{number}");
        cursor.set(&id, number);
        cursor.end(&id);
        cursor.to_string().parse::<Cursor>().unwrap();
    }
    assert_eq!((cursor.number("m83"), cursor.number("m84")), (None, Some(84)));
    assert_eq!(cursor.managers().count(), 0);
    cursor.set("m90", 91);
    assert_eq!((cursor.number("m90"), cursor.managers().collect::<Vec<_>>()), (Some(91), vec!["m90"]));
}

#[test]
fn a_filter_takes_what_it_names_and_what_belongs_to_all() {
    let events = events(100);
    let key = |text: &str| crate::testing::key(text);
    let hint = |key: &ServiceKey| News::fleet_hint(key, true, 2, 3);
    for name in ["default/a", "default/b", "shop/a"] {
        events.tell(hint(&key(name)));
    }
    events.tell(came("one"));
    events.tell(News::store_epoch(9));
    let count = |namespace: &str, service: &str, kinds: &[v1::EventKind]| {
        let kinds: Vec<_> = kinds.iter().map(|kind| i32::from(*kind)).collect();
        let filter = Filter::new(namespace, service, &kinds).unwrap();
        let through_another = filter.to_wire();
        let again = Filter::new(&through_another.namespace, &through_another.service, &through_another.kinds);
        assert_eq!(again.unwrap(), filter);
        events.after(0, 100, &filter).events.len()
    };
    assert_eq!(count("*", "", &[]), 5);
    assert_eq!(count("", "", &[]), 4, "the namespace's, and the store's");
    assert_eq!(count("shop", "", &[]), 2);
    assert_eq!(count("", "a", &[]), 1);
    assert_eq!(count("shop", "a", &[v1::EventKind::Store]), 0);
    assert_eq!(count("*", "", &[v1::EventKind::Store, v1::EventKind::Instance]), 2);
    events.tell(News::gap(events.manager_id(), "too many".to_owned()));
    assert_eq!(count("shop", "a", &[v1::EventKind::Store]), 1, "what is missing may be anything");
    for (namespace, service, kinds) in
        [("*", "a", vec![]), ("No", "", vec![]), ("", "A", vec![]), ("", "", vec![0]), ("", "", vec![99])]
    {
        assert!(Filter::new(namespace, service, &kinds).is_err(), "{namespace} {service} {kinds:?}");
    }
}

#[test]
fn what_others_wrote_cannot_break_the_line() {
    let transition = v1::BreakerTransition { cause: "x\n\u{1b}[31my".to_owned(), ..v1::BreakerTransition::default() };
    let event = News::breaker(&crate::testing::key("default/a"), "one", None, &transition).at(UNIX_EPOCH);
    assert!(event.summary.contains("x  [31my") && !event.summary.contains(char::is_control), "{}", event.summary);
}
