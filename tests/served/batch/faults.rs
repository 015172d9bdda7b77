//! Servers that fail, forget and refuse.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use safer_instruct::{
    ChatModel, Error,
    backends::openai::{
        OpenAiModel,
        batch::{BatchClient, BatchModel, BatchStatus},
    },
};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::CANARY;

use super::{
    all, ask, builder, plain,
    server::{Call, Fault, Server},
    shown, soon, told,
};

#[tokio::test]
async fn a_batch_whose_beginning_is_in_doubt_is_looked_for() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    server.state().faults = vec![(Call::Create, Fault::DoesAndForgets)];
    let model = builder(&server, folder.path()).open().unwrap();
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    assert_eq!((server.sizes(), server.count(Call::List)), (vec![1], 1));

    // One that was not begun after all is begun after the second look.
    server.state().faults = vec![(Call::Create, Fault::Refuses(503))];
    assert_eq!(model.complete(&ask("say b")).await.unwrap().text, "say b");
    assert_eq!((server.sizes(), server.count(Call::List)), (vec![1, 1], 3));

    // A server that says so has not begun it: no doubt.
    server.state().faults = vec![(Call::Create, Fault::Refuses(429))];
    assert_eq!(model.complete(&ask("say c")).await.unwrap().text, "say c");
    assert_eq!(
        (server.sizes(), server.count(Call::List)),
        (vec![1, 1, 1], 3)
    );
}

#[tokio::test]
async fn a_server_that_does_not_list_its_batches_leaves_the_doubt() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    server.state().faults = vec![
        (Call::Create, Fault::DoesAndForgets),
        (Call::List, Fault::Refuses(404)),
    ];
    let model = builder(&server, folder.path()).open().unwrap();
    let report = shown(&model.complete(&ask("say a")).await.unwrap_err());
    let record = folder.path().join("000001.batch.json");
    let says = "the server does not say whether it has begun this batch";
    assert!(
        report.starts_with(&format!("{}: {says}", record.display())),
        "{report}"
    );
    assert!(report.ends_with("move the files 000001.* away"), "{report}");
    // It does so now.
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    assert_eq!(server.sizes(), [1]);
}

#[tokio::test]
async fn a_batch_is_found_on_a_later_page() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    server.state().faults = vec![(Call::Create, Fault::DoesAndHangs)];
    let mut hangs = server.hangs();
    let model = builder(&server, folder.path()).open().unwrap();
    {
        let request = ask("say a");
        let call = model.complete(&request);
        futures::future::select(call, hangs.next()).await;
    }
    drop(model);
    let client = BatchClient::new(&plain(&server.base())).unwrap();
    let file = client.upload(b"").await.unwrap();
    for _ in 0..250 {
        client
            .create(&file, "/v1/embeddings", "24h", &Default::default())
            .await
            .unwrap();
    }
    let model = builder(&server, folder.path()).open().unwrap();
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    assert_eq!(server.count(Call::List), 3);
    assert_eq!(server.sizes().iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn a_list_of_batches_without_end_is_an_error() {
    let lists: [fn(usize) -> Value; 4] = [
        |_| json!([]),
        |_| json!([{"id": "batch_1", "status": "completed"}]),
        |page| json!([{"id": format!("batch_{}", page % 3), "status": "completed"}]),
        |page| json!([{"id": format!("batch_{page}"), "status": "completed"}]),
    ];
    for (list, pages) in lists.into_iter().zip([1, 2, 4, 1_000]) {
        let (server, folder) = (Server::start().await, tempdir().unwrap());
        server.state().faults = vec![(Call::Create, Fault::DoesAndForgets)];
        server.state().endless = Some(list);
        let model = builder(&server, folder.path()).open().unwrap();
        let report = shown(&model.complete(&ask("say a")).await.unwrap_err());
        let record = folder.path().join("000001.batch.json");
        let says = format!("has no end: page {pages} of /batches still says `has_more`");
        assert!(
            report.starts_with(&record.display().to_string()) && report.contains(&says),
            "{report}"
        );
        assert_eq!(server.count(Call::List), pages);
        // With a list that ends the batch is found, and paid for once.
        server.state().endless = None;
        assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
        assert_eq!(server.sizes(), [1]);
    }
}

#[tokio::test]
async fn what_may_pass_is_waited_for_and_not_for_ever() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let open = || {
        let builder = builder(&server, folder.path());
        builder
            .with_patience(Duration::from_secs(300))
            .open()
            .unwrap()
    };
    let busy = |call, times| vec![(call, Fault::Refuses(503)); times];
    let model = open();
    // Four minutes without progress, twice.
    server.state().faults = [
        busy(Call::Upload, 4),
        busy(Call::Get, 2),
        busy(Call::Content, 2),
    ]
    .concat();
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    server.state().faults = busy(Call::Get, 5);
    let error = model.complete(&ask("say b")).await.unwrap_err();
    assert!(
        matches!(error, Error::Exhausted { attempts: 5, .. }),
        "{}",
        shown(&error)
    );
    // One that the server does not begin is looked for in between, which counts for nothing.
    server.state().faults = busy(Call::Create, 5);
    let error = model.complete(&ask("say c")).await.unwrap_err();
    assert!(
        matches!(error, Error::Exhausted { attempts: 5, .. }),
        "{}",
        shown(&error)
    );
    // The other one is in a batch all the same.
    drop(model);
    assert_eq!(open().complete(&ask("say b")).await.unwrap().text, "say b");
    assert_eq!(server.sizes(), [1, 1]);
}

#[tokio::test]
async fn a_server_says_how_long_to_wait() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    // Time that passes only while somebody waits.
    let waits = Arc::new(Mutex::new(Vec::new()));
    let (told, clock) = (Arc::clone(&waits), Arc::clone(&waits));
    let sleep = move |time: Duration| {
        told.lock().unwrap().push(time.as_secs());
        soon(time)
    };
    let model = OpenAiModel::builder(server.base(), "m")
        .with_key(CANARY)
        .with_clock(move || Duration::from_secs(clock.lock().unwrap().iter().sum()))
        .with_sleep(sleep)
        .build()
        .unwrap();
    let model = BatchModel::builder(model, folder.path()).open().unwrap();
    server.state().faults = [429, 503]
        .map(|status| (Call::Upload, Fault::Refuses(status)))
        .to_vec();
    server.state().retry_after = 90;
    model.complete(&ask("say a")).await.unwrap();
    // Quiet, twice as long as the server asked for, and the time between looks.
    assert_eq!(*waits.lock().unwrap(), [5, 90, 90, 60]);
}

#[tokio::test]
async fn what_is_refused_is_told_to_those_who_wait_and_forgotten() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    for call in [Call::Upload, Call::Create] {
        server.state().faults = vec![(call, Fault::Refuses(401))];
        let found = told(all(&model, &[ask("say a"), ask("say the kettle")]).await);
        let base = server.base();
        let says = format!(
            "m at {base} refused the request: it does not accept the key; is it the key of this server, and still valid? (status 401)"
        );
        assert_eq!(found, [says.clone(), says]);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "head and lock"
        );
    }
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    assert_eq!(server.sizes(), [1]);
}

#[tokio::test]
async fn a_batch_that_the_server_does_not_know_is_not_paid_for_again_without_a_word() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    for call in [Call::Get, Call::Content] {
        server.state().faults = vec![(call, Fault::Refuses(404))];
        let error = model.complete(&ask("say a")).await.unwrap_err();
        let record = folder.path().join("000001.batch.json");
        let report = shown(&error);
        assert!(
            report.starts_with(&format!(
                "{}: the server does not give its batch batch_0",
                record.display()
            )),
            "{report}"
        );
        assert!(report.ends_with("move the files 000001.* away"), "{report}");
    }
    // With the right key it comes.
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    assert_eq!(server.sizes(), [1]);
}

#[tokio::test]
async fn a_batch_that_fails_as_a_whole_says_why() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    server.state().failing = vec!["mismatched_model"];
    let error = model.complete(&ask("say a")).await.unwrap_err();
    assert!(shown(&error).ends_with("the batch batch_0 failed as a whole: mismatched_model"));
    // It can be put right.
    assert_eq!(model.complete(&ask("say a")).await.unwrap().text, "say a");
    assert_eq!(server.sizes(), [1, 1]);
}

#[tokio::test]
async fn a_batch_that_the_server_has_no_room_for_waits_for_the_others() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path())
        .with_wave(1)
        .with_max_attempts(2)
        .open()
        .unwrap();
    server.state().polls = 9;
    let first = ask("say a");
    let mut first = model.complete(&first);
    while server.sizes().is_empty() {
        assert!(futures::future::poll_immediate(&mut first).await.is_none());
        tokio::task::yield_now().await;
    }
    server.state().failing = vec!["token_limit_exceeded"; 2];
    let second = ask("say b");
    let second = model.complete(&second);
    let (first, second) = futures::join!(first, second);
    assert_eq!(
        (first.unwrap().text.as_str(), second.unwrap().text.as_str()),
        ("say a", "say b")
    );
    // Refused beside the first, which does not count as an attempt; refused alone, which does; then served.
    assert_eq!(server.sizes(), [1, 1, 1, 1]);

    server.state().failing = vec!["token_limit_exceeded"; 2];
    let error = model.complete(&ask("say c")).await.unwrap_err();
    assert!(
        matches!(error, Error::Exhausted { attempts: 2, .. }),
        "{}",
        shown(&error)
    );
}

#[tokio::test]
async fn batches_that_end_early_keep_what_is_there() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    server.state().ends = Some("expired");
    let requests = ["say a", "missing 2 times"].map(ask);
    assert_eq!(
        told(all(&model, &requests).await),
        ["say a", "missing 2 times"]
    );
    assert_eq!(server.sizes(), [2, 1]);
    server.state().ends = Some("cancelled");
    let requests = ["say b", "missing 4 times"].map(ask);
    let found = told(all(&model, &requests).await);
    assert_eq!(found[0], "say b");
    assert!(
        found[1].ends_with("the batch was cancelled before the request was served"),
        "{}",
        found[1]
    );
    assert_eq!(server.sizes(), [2, 1, 2]);
}

#[tokio::test]
async fn lines_that_cannot_be_used_lose_nothing_of_the_others() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path())
        .with_max_attempts(1)
        .open()
        .unwrap();
    server.state().noise = b"{\"custom_id\": \"the kettle\xff\n\n{}\n".to_vec();
    let requests = ["say a", "missing 9 times", "say b"].map(ask);
    let found = told(all(&model, &requests).await);
    assert_eq!((found[0].as_str(), found[2].as_str()), ("say a", "say b"));
    let file = folder.path().join("000001.output.jsonl");
    let says = format!(
        "and 2 lines that cannot be used: {}:1: it is not in UTF-8",
        file.display()
    );
    assert!(found[1].contains(&says), "{}", found[1]);
}

#[tokio::test]
async fn a_batch_can_be_stopped() {
    let server = Server::start().await;
    let client = BatchClient::new(&plain(&server.base())).unwrap();
    let file = client
        .upload(
            b"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{}}\n",
        )
        .await
        .unwrap();
    let metadata = [("run".to_owned(), "7".to_owned())].into();
    let batch = client
        .create(&file, "/v1/completions", "24h", &metadata)
        .await
        .unwrap();
    assert_eq!((&batch.input_file_id, &batch.metadata), (&file, &metadata));
    assert_eq!(
        client.cancel(&batch.id).await.unwrap().status,
        BatchStatus::Cancelling
    );
    let error = client.get("batch_9").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Refused {
                status: Some(404),
                ..
            }
        ),
        "{}",
        shown(&error)
    );
    assert!(client.get("../files/file-0/content").await.is_err());
    assert!(!format!("{client:?}").contains("canary"));
}
