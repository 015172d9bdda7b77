//! Servers that misbehave, and a key that expires.

use std::time::Duration;

use crate::{
    server::Fault,
    trial::{Kill, Trial},
    worker::Store,
};

#[test]
fn a_server_that_misbehaves_changes_nothing() {
    for fault in [
        Fault::Hang,
        Fault::Reset,
        Fault::HalfABody,
        Fault::InvalidJson,
        Fault::Page,
        Fault::Storm,
        Fault::Error500,
        Fault::Drip,
    ] {
        let mut trial = Trial::new(Store::Journal);
        // Nothing else takes so long, and one that hangs is given up in good time.
        trial.order.timeout = Some(Duration::from_secs(if fault == Fault::Hang {
            3
        } else {
            60
        }));
        // Single ones, a row of them, and one that meets every call at once.
        let calls = [1, 9, 10, 40].into_iter().chain(100..107);
        trial.server.plan(calls.clone().map(|call| (call, fault)));
        let session = trial.session(None);
        assert!(
            session.succeeded && session.failed == 0,
            "{fault:?}: {session:?}"
        );
        trial.check().unwrap();
        let errors = trial.number("SELECT sum(errors) FROM calls");
        let expected = if fault == Fault::Drip {
            0
        } else {
            calls.count() as u64
        };
        assert_eq!(errors, expected, "{fault:?}");
        assert_eq!(trial.finish(), Ok(0), "{fault:?}");
    }
}

#[test]
fn a_key_that_expires_ends_the_run_which_goes_on_without_paying_twice() {
    let mut trial = Trial::new(Store::Journal);
    trial.order.plain = true;
    trial.server.expire_from(Some(100));
    let session = trial.session(None);
    assert!(!session.succeeded && session.failed == 0, "{session:?}");
    assert!(session.output.contains("it does not accept the key"));
    assert_eq!(trial.server.bill().len(), 99);
    // The server says the key in its error.
    trial.check_canary().unwrap();
    trial.server.expire_from(None);
    trial.finish().unwrap();
}

#[test]
fn refused_calls_fail_texts_and_a_retry_mends_them_without_paying_twice() {
    let mut trial = Trial::new(Store::Journal);
    trial.order.plain = true;
    trial.server.refuse_from(Some(100));
    let session = trial.session(None);
    assert!(session.succeeded && session.failed > 10, "{session:?}");
    let failures = String::from_utf8(trial.files()["failed.jsonl"].clone()).unwrap();
    for line in failures.lines() {
        assert!(line.contains("it cannot serve the request"), "{line}");
    }
    let paid = trial.server.bill().len();
    assert_eq!(paid, 99);
    // The server says the key in its error.
    trial.check_canary().unwrap();

    // It fails once more, and is killed in the middle.
    trial.order.retry = true;
    assert!(trial.session(None).succeeded);
    assert_eq!(trial.server.bill().len(), paid);
    trial.server.refuse_from(None);
    for kill in [
        Kill::Called(5),
        Kill::At("committing", 9),
        Kill::At("recorded", 9),
    ] {
        assert!(trial.session(Some(kill)).killed, "{kill:?}");
        trial.note_in_flight().unwrap();
    }
    let session = trial.session(None);
    assert!(session.succeeded && session.failed == 0, "{session:?}");
    trial.order.retry = false;
    trial.finish().unwrap();
}
