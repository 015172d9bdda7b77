//! Processes that end in the middle of a batch.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
};

use futures::{StreamExt, executor::block_on};
use tempfile::tempdir;

use super::{
    all, ask, plain,
    server::{Call, Fault, Server},
    soon, told,
};
use safer_instruct::{
    ChatRequest,
    backends::openai::batch::{BatchModel, BatchModelBuilder},
};

/// Name the folder and the server of a worker.
const FOLDER: &str = "SAFER_INSTRUCT_TEST_FOLDER";
const BASE: &str = "SAFER_INSTRUCT_TEST_BASE";
const WORDS: [&str; 4] = ["say a", "say b", "say c", "busy 2 times"];

fn builder(base: &str, folder: &Path) -> BatchModelBuilder {
    BatchModel::builder(plain(base), folder).with_sleep(soon)
}

/// The process that is killed.
#[test]
#[ignore = "it is started by the tests below"]
fn worker() {
    let (Some(folder), Ok(base)) = (env::var_os(FOLDER), env::var(BASE)) else {
        return;
    };
    let model = builder(&base, folder.as_ref()).open().unwrap();
    let requests: Vec<ChatRequest> = WORDS.iter().map(|words| ask(*words)).collect();
    block_on(all(&model, &requests));
}

fn start(server: &Server, folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "batch::crashes::worker", "--ignored"])
        .env(FOLDER, folder)
        .env(BASE, server.base())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a worker when each of these calls is done and not answered, one worker after the other, and gives the server.
async fn killed_at(calls: &[Call], folder: &Path) -> Server {
    let server = Server::start().await;
    let mut hangs = server.hangs();
    for call in calls {
        server.state().faults.push((*call, Fault::DoesAndHangs));
        let mut worker = start(&server, folder);
        assert_eq!(hangs.next().await, Some(*call));
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    server
}

async fn goes_on(server: &Server, folder: &Path) {
    let model = builder(&server.base(), folder).open().unwrap();
    let requests: Vec<ChatRequest> = WORDS.iter().map(|words| ask(*words)).collect();
    assert_eq!(told(all(&model, &requests).await), WORDS);
    // The busy one takes a second batch, and nothing is in two.
    assert_eq!(server.sizes(), [4, 1]);
}

#[tokio::test]
async fn killed_before_its_batch_is_begun_it_is_begun_once() {
    let folder = tempdir().unwrap();
    let server = killed_at(&[Call::Upload], folder.path()).await;
    assert!(server.sizes().is_empty());
    goes_on(&server, folder.path()).await;
    // Looked for twice, for it could have been on its way.
    assert_eq!(server.count(Call::List), 2);
    assert_eq!(server.count(Call::Create), 2);
}

#[tokio::test]
async fn killed_before_it_knows_the_name_of_its_batch_it_finds_it() {
    let folder = tempdir().unwrap();
    let server = killed_at(&[Call::Create], folder.path()).await;
    assert_eq!(server.sizes(), [4]);
    goes_on(&server, folder.path()).await;
    assert_eq!(server.count(Call::List), 1);
    assert_eq!(server.count(Call::Upload), 2);
}

#[tokio::test]
async fn killed_before_the_results_are_there_it_asks_on() {
    let folder = tempdir().unwrap();
    let server = killed_at(&[Call::Get], folder.path()).await;
    goes_on(&server, folder.path()).await;
    assert_eq!(server.count(Call::List), 0);
}

#[tokio::test]
async fn killed_again_and_again_it_pays_once() {
    let folder = tempdir().unwrap();
    let calls = [
        Call::Upload,
        Call::List,
        Call::List,
        Call::Create,
        Call::List,
        Call::Get,
        Call::Content,
        Call::Content,
        Call::Content,
    ];
    let server = killed_at(&calls, folder.path()).await;
    goes_on(&server, folder.path()).await;
}

#[tokio::test]
async fn a_model_that_is_dropped_in_the_midst_goes_on_later() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let requests: Vec<ChatRequest> = WORDS.iter().map(|words| ask(*words)).collect();
    for call in [Call::Upload, Call::Create, Call::Get, Call::Content] {
        let before = server.count(call);
        let model = builder(&server.base(), folder.path()).open().unwrap();
        let calls = all(&model, &requests);
        futures::pin_mut!(calls);
        while server.count(call) == before {
            assert!(futures::future::poll_immediate(&mut calls).await.is_none());
            tokio::task::yield_now().await;
        }
    }
    goes_on(&server, folder.path()).await;
}
