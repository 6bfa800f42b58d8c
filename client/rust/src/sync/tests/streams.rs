use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn services_named_later_are_asked_for() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, hello) = scene.accept().await;
    assert_eq!(hello.services, ["a".into()]);
    scene.service("b");
    scene.service("c");
    scene.service("not a name");
    let mut asked = Vec::new();
    while asked.len() < 2 {
        let ToManager::Subscribe { services, .. } = stream.answer().await else { panic!("not asked for") };
        asked.extend(services);
    }
    assert_eq!(asked, ["b".into(), "c".into()]);
    drop(stream);
    assert_eq!(scene.accept().await.1.services, ["a".into(), "b".into(), "c".into()]);
}

/// Names without end must not be traffic without end, nor ever more services than a manager follows for one instance.
///
/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[tokio::test(start_paused = true)]
async fn t25_services_that_take_each_others_places_are_told_of_now_and_then() {
    let mut scene = Scene::with_room(3, &["a", "b", "c"]);
    let (mut stream, hello) = scene.accept().await;
    assert_eq!(hello.services.len(), 3);
    for round in 0..10 {
        let names: Vec<_> = (0..100).map(|n| format!("user-{round}-{n}")).collect();
        names.iter().for_each(|name| drop(scene.service(name)));
        let ToManager::Subscribe { services, gone } = stream.answer().await else { panic!("not told") };
        let last: Vec<Arc<str>> = names[97..].iter().map(|name| name.as_str().into()).collect();
        assert_eq!((services, gone.len()), (last, 3));
        let said = tokio::time::timeout(SECOND / 4, stream.answer()).await;
        assert!(said.is_err(), "{said:?}");
    }
    drop(stream);
    assert_eq!(scene.accept().await.1.services, ["user-9-97".into(), "user-9-98".into(), "user-9-99".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_is_resumed_with_what_is_in_force() {
    let mut scene = Scene::new(&["a", "b"]);
    let (mut stream, _) = scene.accept().await;
    stream.update("a", at(1, 5), Ok(policy(Level::Full)));
    stream.answer().await;
    let _ = stream.to_instance.send(Err(Down::new("reset")));
    let (_stream, hello) = scene.accept().await;
    assert_eq!(hello.applied, [applied("a", at(1, 5), &policy(Level::Full))]);
    assert_eq!(scene.service("a").isolation.in_force().policy, policy(Level::Full));
}

#[tokio::test(start_paused = true)]
async fn attempts_go_on_for_ever_with_growing_random_pauses() {
    let mut scene = Scene::with(&["a"], Way::Refuses);
    let mut last = scene.attempt().await.at;
    let mut pauses = Vec::new();
    for _ in 0..400 {
        let now = scene.attempt().await.at;
        pauses.push(now - last);
        last = now;
    }
    for (index, pause) in pauses.iter().enumerate() {
        // A timer is exact to a millisecond.
        let longest = (SECOND / 10 * 2_u32.pow(index.min(10) as u32)).min(5 * SECOND) + SECOND / 500;
        assert!(*pause <= longest, "pause {index}: {pause:?} > {longest:?}");
    }
    let late = &pauses[10..];
    assert!(late.iter().any(|pause| *pause < SECOND) && late.iter().any(|pause| *pause > 4 * SECOND));
    assert!(!scene.shared.link.look().is_connected());
    assert_eq!(scene.shared.link.look().reason.as_deref(), Some("connection refused"));
}

#[tokio::test(start_paused = true)]
async fn only_a_stream_that_has_gone_on_for_a_while_resets_the_pauses() {
    let mut scene = Scene::new(&["a"]);
    for is_answered in [false, true] {
        let mut long = 0;
        for _ in 0..60 {
            let ended = Instant::now();
            let Opened { at, stream, .. } = scene.attempt().await;
            long += u32::from(at - ended > SECOND);
            if is_answered {
                stream.as_ref().unwrap().say(FromManager::Complete(None));
            }
        }
        assert!(long > 20, "such streams must not reset the pauses: {is_answered} {long}");
    }
    let mut stream = scene.attempt().await.stream.unwrap();
    for _ in 0..60 {
        stream.say(FromManager::Bookmark(None));
        tokio::time::sleep(10 * SECOND).await;
        drop(stream);
        let ended = Instant::now();
        let next = scene.attempt().await;
        assert!(next.at - ended <= SECOND / 10 + SECOND / 500);
        stream = next.stream.unwrap();
    }
}

/// Two processes that were given one instance id push each other off the manager.
#[tokio::test(start_paused = true)]
async fn who_is_pushed_off_again_and_again_is_told_why_and_comes_ever_more_rarely() {
    let mut scene = Scene::new(&["a"]);
    let why = "Aborted: another stream from 10.0.0.7:4711 has taken over the instance id \"same\"";
    let begin = Instant::now();
    let mut pushed_off = begin;
    for _ in 0..100 {
        let (stream, _) = scene.accept().await;
        stream.say(FromManager::Complete(None));
        // The other one pauses as long as this one has.
        tokio::time::sleep(pushed_off.elapsed()).await;
        pushed_off = Instant::now();
        let _ = stream.to_instance.send(Err(Down::new(why)));
    }
    scene.attempt().await;
    assert!(begin.elapsed() > 250 * SECOND, "100 streams of each in {:?}", begin.elapsed());
    let Some(Event::Connected { .. }) = scene.events.next().await else { panic!("not told") };
    let Some(Event::Disconnected { reason }) = scene.events.next().await else { panic!("not told") };
    assert_eq!(&*reason, why);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_stream_and_bookmarks_keep_it() {
    let mut scene = Scene::new(&["a"]);
    let (stream, _) = scene.accept().await;
    let begin = Instant::now();
    for _ in 0..20 {
        tokio::time::sleep(10 * SECOND).await;
        stream.say(FromManager::Bookmark(None));
    }
    assert!(scene.shared.link.look().is_connected());
    assert!(scene.opened.try_recv().is_err(), "the stream was given up");
    let Opened { at, .. } = scene.attempt().await;
    let silence = at - begin - 200 * SECOND;
    assert!(silence >= 30 * SECOND && silence <= 30 * SECOND + SECOND / 5, "{silence:?}");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_never_answers_at_all_is_left() {
    let mut scene = Scene::new(&["a"]);
    let Opened { at, stream: _stream, .. } = scene.attempt().await;
    assert!(scene.attempt().await.at - at >= 30 * SECOND);
    let Event::Disconnected { reason } = scene.events.next().await.unwrap() else { panic!("not told") };
    assert_eq!(&*reason, "the manager has fallen silent");
}

#[tokio::test(start_paused = true)]
async fn a_manager_can_ask_to_come_again() {
    let mut scene = Scene::new(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let (mut stream, _) = scene.accept().await;
        stream.say(FromManager::Reconnect { within: 8 * SECOND });
        // The instance says goodbye: its side of the stream ends, then the manager's.
        while stream.from_instance.next().await.is_some() {}
        drop(stream);
        let ended = Instant::now();
        pauses.push(scene.attempt().await.at - ended);
    }
    assert!(pauses.iter().all(|pause| *pause <= 8 * SECOND + SECOND / 500));
    assert!(pauses.iter().any(|pause| *pause > 4 * SECOND) && pauses.iter().any(|pause| *pause < 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_comes_again_when_the_manager_said_and_not_for_all_at_once() {
    let mut scene = Scene::new(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let stream = scene.attempt().await.stream.unwrap();
        let full = Down { retry_after: Some(8 * SECOND), ..Down::new("ResourceExhausted: full") };
        let _ = stream.to_instance.send(Err(full));
        let ended = Instant::now();
        pauses.push(scene.attempt().await.at - ended);
    }
    assert!(pauses.iter().all(|pause| (8 * SECOND..=16 * SECOND + SECOND / 500).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause < 10 * SECOND) && pauses.iter().any(|pause| *pause > 14 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_manager_comes_back_over_the_time_that_it_said_last() {
    let mut scene = Scene::new(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let (stream, _) = scene.accept().await;
        stream.say(FromManager::Complete(Some(SECOND)));
        stream.say(FromManager::Bookmark(Some(4 * SECOND)));
        stream.say(FromManager::Bookmark(None));
        tokio::time::sleep(10 * SECOND).await;
        drop(stream);
        let ended = Instant::now();
        pauses.push(scene.attempt().await.at - ended);
    }
    assert!(pauses.iter().all(|pause| *pause <= 4 * SECOND + SECOND / 500), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause > 3 * SECOND) && pauses.iter().any(|pause| *pause < SECOND));
}

#[tokio::test(start_paused = true)]
async fn reading_does_not_wait_for_writing() {
    let mut scene = Scene::new(&["a", "b"]);
    let (mut stream, _) = scene.accept().await;
    // Nothing is taken from the instance while a thousand policies come in.
    for revision in 1..=1000 {
        for service in ["a", "b"] {
            stream.update(service, at(1, revision), Ok(policy(Level::Full)));
        }
    }
    let service = scene.service("b");
    while service.isolation.in_force().revision != Some(at(1, 1000)) {
        tokio::task::yield_now().await;
    }
    // Of the acknowledgements, some were on their way; of the others each service's last is left.
    let mut answers = Vec::new();
    let last = ["a", "b"].map(|service| ToManager::Applied(applied(service, at(1, 1000), &policy(Level::Full))));
    while !last.iter().all(|answer| answers.contains(answer)) {
        answers.push(stream.answer().await);
    }
    assert!(answers.len() < 20, "{}", answers.len());
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_told_as_it_changes() {
    let mut scene = Scene::new(&["a"]);
    let (stream, _) = scene.accept().await;
    assert!(!scene.shared.link.look().is_connected(), "the manager has not answered");
    stream.say(FromManager::Complete(None));
    assert_eq!(scene.events.next().await, Some(Event::Connected { manager: "test".into() }));
    tokio::time::sleep(3 * SECOND).await;
    let connection = scene.shared.link.look();
    assert_eq!((connection.is_connected(), connection.policy_age), (true, Some(3 * SECOND)));
    drop(stream);
    let reason = "the manager ended the stream".into();
    assert_eq!(scene.events.next().await, Some(Event::Disconnected { reason }));
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_task_wherever_it_is() {
    // While it waits to try again.
    let mut scene = Scene::with(&["a"], Way::Refuses);
    for _ in 0..20 {
        scene.attempt().await;
    }
    scene.stop.cancel();
    scene.task.await.unwrap();

    // With a stream that the manager does not end.
    let mut scene = Scene::new(&["a"]);
    let (_stream, _) = scene.accept().await;
    scene.stop.cancel();
    scene.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_does_not_pass_for_connected() {
    let mut scene = Scene::new(&["a"]);
    let (stream, _) = scene.accept().await;
    stream.say(FromManager::Complete(None));
    assert!(matches!(scene.events.next().await, Some(Event::Connected { .. })));
    scene.task.abort();
    let reason = "the runtime that the stream ran on is gone".into();
    assert_eq!(scene.events.next().await, Some(Event::Disconnected { reason }));
    assert!(!scene.shared.link.look().is_connected());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_before_its_first_stream_does_not_pass_for_trying() {
    let mut scene = Scene::new(&["a"]);
    scene.attempt().await;
    scene.task.abort();
    let reason: Arc<str> = "the runtime that the stream ran on is gone".into();
    scene.task.await.unwrap_err();
    assert_eq!(scene.shared.link.look().reason, Some(Arc::clone(&reason)));

    let mut scene = Scene::with(&["a"], Way::Refuses);
    scene.attempt().await;
    assert!(matches!(scene.events.next().await, Some(Event::Disconnected { .. })));
    scene.task.abort();
    scene.task.await.unwrap_err();
    assert_eq!(scene.shared.link.look().reason, Some(reason));
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_sends_everybody_away_at_once_is_not_besieged() {
    let mut scene = Scene::new(&["a"]);
    let begin = Instant::now();
    for _ in 0..100 {
        let (mut stream, _) = scene.accept().await;
        stream.say(FromManager::Reconnect { within: Duration::ZERO });
        while stream.from_instance.next().await.is_some() {}
    }
    assert!(begin.elapsed() > SECOND, "100 streams in {:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_nothing_any_more_is_opened_anew() {
    let mut scene = Scene::new(&["a"]);
    let (stream, _) = scene.accept().await;
    let Stream { from_instance, to_instance } = stream;
    drop(from_instance);
    let said = tokio::spawn(async move {
        while to_instance.send(Ok(FromManager::Bookmark(None))).is_ok() {
            tokio::time::sleep(10 * SECOND).await;
        }
    });
    tokio::time::timeout(60 * SECOND, scene.accept()).await.expect("it stays on a stream that hears nothing");
    said.await.unwrap();
}
