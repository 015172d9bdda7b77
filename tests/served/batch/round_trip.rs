//! From many calls to few batches and back.

use std::sync::Arc;

use futures::future::poll_immediate;
use safer_instruct::{ChatModel, ChatRequest, Error, Prompt, backends::openai::batch::BatchLimits};
use tempfile::tempdir;

use super::{
    all, ask, builder, plain,
    server::{Call, Server},
    shown, soon, told,
};

#[tokio::test]
async fn what_waits_goes_off_together_and_everyone_gets_his_own() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    server.state().polls = 3;
    let words: Vec<String> = (0..100).map(|n| format!("say {n}")).collect();
    let requests: Vec<ChatRequest> = words.iter().map(ask).collect();
    let model = builder(&server, folder.path()).open().unwrap();
    assert_eq!(told(all(&model, &requests).await), words);
    assert_eq!(server.sizes(), [100]);
    assert_eq!(server.endpoints(), ["/v1/chat/completions"]);
    assert_eq!(
        (server.count(Call::Upload), server.count(Call::Get)),
        (1, 4)
    );

    // What is there is not asked for again, in this process or the next one.
    let calls = server.state().calls.len();
    assert_eq!(told(all(&model, &requests).await), words);
    drop(model);
    let model = builder(&server, folder.path()).open().unwrap();
    assert_eq!(told(all(&model, &requests).await), words);
    assert_eq!(server.state().calls.len(), calls);
}

#[tokio::test]
async fn rows_that_may_succeed_later_go_into_later_batches() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let requests = [
        "say once",
        "missing 2 times",
        "expired 3 times",
        "busy 2 times",
        "busy 9 times",
        "missing 9 times",
        "refused always",
    ]
    .map(ask);
    let model = builder(&server, folder.path()).open().unwrap();
    let found = all(&model, &requests).await;
    assert!(matches!(
        found[4],
        Err(Error::Exhausted { attempts: 3, .. })
    ));
    assert!(matches!(
        found[5],
        Err(Error::Exhausted { attempts: 3, .. })
    ));
    assert!(matches!(
        found[6],
        Err(Error::Refused {
            status: Some(400),
            ..
        })
    ));
    let found = told(found);
    assert_eq!(
        found[..4],
        [
            "say once",
            "missing 2 times",
            "expired 3 times",
            "busy 2 times"
        ]
    );
    let at = format!("m at {}", server.base());
    // The server's words quote the request, so they are left out.
    assert_eq!(
        found[4..],
        [
            format!("gave up after 3 attempts: the connection to {at} failed: status 503"),
            format!(
                "gave up after 3 attempts: the connection to {at} failed: the results of the batch batch_2 have no row for the request"
            ),
            format!("{at} refused the request: it cannot serve the request (status 400)"),
        ]
    );
    assert_eq!(server.sizes(), [7, 5, 3]);

    // An error of the request is a result; what was given up is asked for again.
    drop(model);
    let model = builder(&server, folder.path()).open().unwrap();
    let again = all(&model, &requests[4..]).await;
    assert!(again.iter().all(Result::is_err));
    assert_eq!(server.sizes(), [7, 5, 3, 2, 2, 2]);
}

#[tokio::test]
async fn an_error_of_the_account_is_told_and_not_kept() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    let error = model.complete(&ask("locked 2 times")).await.unwrap_err();
    assert!(shown(&error).contains("does not accept the key"));
    assert_eq!(
        model.complete(&ask("locked 2 times")).await.unwrap().text,
        "locked 2 times"
    );
    assert_eq!(server.sizes(), [1, 1]);
}

/// As many as are sent at once by default.
#[tokio::test]
async fn ten_thousand_calls_are_one_batch() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    let requests: Vec<ChatRequest> = (0..10_000).map(|n| ask(format!("say {n}"))).collect();
    let found = told(all(&model, &requests).await);
    for (n, text) in found.iter().enumerate() {
        assert_eq!(*text, format!("say {n}"));
    }
    assert_eq!(server.sizes(), [10_000]);
}

#[tokio::test]
async fn equal_requests_are_one() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    let requests = ["say a", "say b", "say a"].map(ask);
    assert_eq!(
        told(all(&model, &requests).await),
        ["say a", "say b", "say a"]
    );
    assert_eq!(server.sizes(), [2]);
}

#[tokio::test]
async fn a_wave_is_split_by_path_and_size() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let limits = BatchLimits {
        requests: 3,
        ..BatchLimits::default()
    };
    let model = builder(&server, folder.path())
        .with_limits(limits)
        .open()
        .unwrap();
    let mut requests: Vec<ChatRequest> = (0..7).map(|n| ask(format!("say {n}"))).collect();
    requests.insert(2, ChatRequest::new(Prompt::Raw("say raw".into())));
    let found = told(all(&model, &requests).await);
    assert_eq!(
        found,
        [
            "say 0", "say 1", "say raw", "say 2", "say 3", "say 4", "say 5", "say 6"
        ]
    );
    assert_eq!(server.sizes(), [3, 1, 3, 1]);
    let paths = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/chat/completions",
    ];
    assert_eq!(server.endpoints(), paths);

    let tight = BatchLimits {
        bytes: 100,
        ..limits
    };
    drop(model);
    let model = builder(&server, folder.path())
        .with_limits(tight)
        .open()
        .unwrap();
    let error = model.complete(&ask("kettle")).await.unwrap_err();
    assert!(shown(&error).contains("shorten the text or raise the limits"));
}

#[tokio::test]
async fn a_full_queue_does_not_wait_for_quiet() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let sleep = |time: std::time::Duration| async move {
        // Quiet never comes.
        if time.as_secs() == 5 {
            std::future::pending::<()>().await;
        }
        soon(time).await;
    };
    let model = builder(&server, folder.path())
        .with_wave(4)
        .with_sleep(sleep)
        .open()
        .unwrap();
    let requests = ["say a", "say b", "say c", "say d"].map(ask);
    let first = poll_immediate(all(&model, &requests[..3])).await;
    assert!(first.is_none() && server.sizes().is_empty());
    // Three of them were dropped, and count as long as nobody looks.
    assert_eq!(told(all(&model, &requests).await).len(), 4);
    assert_eq!(server.sizes().iter().sum::<usize>(), 4);
}

#[tokio::test]
async fn a_call_that_is_dropped_takes_its_request_back() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    for n in 0..20 {
        assert!(
            poll_immediate(model.complete(&ask(format!("say {n}"))))
                .await
                .is_none()
        );
    }
    assert_eq!(
        model.complete(&ask("say last")).await.unwrap().text,
        "say last"
    );
    assert_eq!(server.sizes(), [1]);
}

/// The call that polls the work is dropped in the middle of an exchange, and another one goes on with it.
#[tokio::test]
async fn any_of_those_who_wait_will_do() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    let requests = ["say a", "say b"].map(ask);
    let mut first = model.complete(&requests[0]);
    let second = model.complete(&requests[1]);
    futures::pin_mut!(second);
    // Until the upload is on its way.
    while server.count(Call::Upload) == 0 {
        assert!(poll_immediate(&mut first).await.is_none());
        assert!(poll_immediate(&mut second).await.is_none());
        tokio::task::yield_now().await;
    }
    drop(first);
    assert_eq!(second.await.unwrap().text, "say b");
    assert_eq!((server.sizes(), server.count(Call::Upload)), (vec![2], 1));
    assert_eq!(model.complete(&requests[0]).await.unwrap().text, "say a");
    assert_eq!(server.sizes(), [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_many_threads_are_all_answered() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = Arc::new(
        builder(&server, folder.path())
            .with_wave(16)
            .open()
            .unwrap(),
    );
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let model = Arc::clone(&model);
            tokio::spawn(
                async move { model.complete(&ask(format!("say {n}"))).await.unwrap().text },
            )
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), format!("say {n}"));
    }
    assert_eq!(server.sizes().iter().sum::<usize>(), 200);
}

#[test]
fn what_a_batch_model_needs_is_said() {
    let folder = tempdir().unwrap();
    let two = safer_instruct::backends::openai::OpenAiModel::builder("http://host/v1", "m")
        .with_endpoint("http://other/v1")
        .build()
        .unwrap();
    let open = |model| {
        safer_instruct::backends::openai::batch::BatchModel::builder(model, folder.path().join("a"))
            .open()
    };
    assert!(
        open(two)
            .unwrap_err()
            .report()
            .contains("leave out `with_endpoint`")
    );
    let model = open(plain("http://host/v1")).unwrap();
    assert!(!format!("{model:?}").contains("canary"));
}
