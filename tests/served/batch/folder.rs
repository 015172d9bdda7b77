//! What stands in the folder, and what may not.

use std::{fs, path::Path};

use safer_instruct::{ChatModel, Error, backends::openai::batch::BatchModel};
use tempfile::tempdir;

use super::{
    ask, builder, plain,
    server::{Call, Fault, Server},
    shown,
};

/// A folder with a batch that has results and one that was lost on its way back.
async fn used(server: &Server, folder: &Path) {
    let model = builder(server, folder).open().unwrap();
    model.complete(&ask("say a")).await.unwrap();
    server.state().faults = vec![(Call::Get, Fault::Refuses(404))];
    model.complete(&ask("say b")).await.unwrap_err();
}

fn report(server: &Server, folder: &Path) -> String {
    shown(&builder(server, folder).open().unwrap_err())
}

#[tokio::test]
async fn it_holds_the_files_that_the_guide_names_and_no_key() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    used(&server, folder.path()).await;
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "000001.batch.json",
            "000001.output.jsonl",
            "000001.requests.jsonl",
            "000002.batch.json",
            "000002.requests.jsonl",
            "folder.json",
            "lock"
        ]
    );
    for name in names {
        let text = fs::read_to_string(folder.path().join(&name)).unwrap();
        assert!(!text.contains("canary"), "{name}");
    }
}

#[tokio::test]
async fn two_at_a_time_are_refused() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    assert!(report(&server, folder.path()).contains("it is in use by another process"));
    drop(model);
    builder(&server, folder.path()).open().unwrap();
}

#[tokio::test]
async fn a_folder_of_other_files_or_another_server_is_refused() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let other = tempdir().unwrap();
    fs::write(other.path().join("notes.txt"), "kettle").unwrap();
    assert!(report(&server, other.path()).contains("it holds other files; give an empty folder"));
    assert_eq!(
        fs::read_dir(other.path()).unwrap().count(),
        1,
        "it is left as it was"
    );

    used(&server, folder.path()).await;
    let elsewhere = BatchModel::builder(plain("http://elsewhere/v1"), folder.path()).open();
    let says = shown(&elsewhere.unwrap_err());
    assert!(
        says.contains("not at http://elsewhere/v1; give that address, or another folder"),
        "{says}"
    );
    fs::write(folder.path().join("notes.txt"), "kettle").unwrap();
    assert!(
        report(&server, folder.path()).contains("notes.txt: it is none of the files of batches")
    );
}

#[tokio::test]
async fn a_file_that_was_changed_is_named_with_the_way_out() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    used(&server, folder.path()).await;
    for (name, says) in [
        (
            "000001.output.jsonl",
            "it is not as it was written; put it back, or to give the batch up",
        ),
        ("000001.requests.jsonl", "it is not as it was written"),
        (
            "000001.batch.json",
            "it is no record of a batch; to give the batch up",
        ),
        ("000002.requests.jsonl", "it is not as it was written"),
        ("000002.batch.json", "it is no record of a batch"),
        ("folder.json", "it is no head of a folder of batches"),
    ] {
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        // Cut off, damaged, and of somebody else.
        for broken in [
            &whole[..whole.len() / 2],
            &whole.to_ascii_uppercase(),
            b"kettle",
        ] {
            fs::write(&path, broken).unwrap();
            let report = report(&server, folder.path());
            assert!(
                report.starts_with(&format!("{}: {says}", path.display())),
                "{report}"
            );
        }
        fs::write(&path, &whole).unwrap();
    }
    let record = folder.path().join("000001.batch.json");
    let aside = folder.path().join(".aside");
    fs::rename(&record, &aside).unwrap();
    assert!(report(&server, folder.path()).contains("put it back, or move this file away"));
    fs::rename(&aside, &record).unwrap();
    builder(&server, folder.path()).open().unwrap();
}

#[tokio::test]
async fn what_was_not_finished_is_cleared_away() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    used(&server, folder.path()).await;
    let left = ["000003.requests.jsonl", ".safer-instruct-partial-a1b2"]
        .map(|name| folder.path().join(name));
    for path in &left {
        fs::write(path, "kettle").unwrap();
    }
    let model = builder(&server, folder.path()).open().unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    // Its number is not given again.
    model.complete(&ask("say c")).await.unwrap();
    assert!(folder.path().join("000004.batch.json").exists());
}

#[tokio::test]
async fn a_batch_that_is_moved_away_is_asked_for_again() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    used(&server, folder.path()).await;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("000002.")
        {
            fs::remove_file(path).unwrap();
        }
    }
    let model = builder(&server, folder.path()).open().unwrap();
    assert_eq!(model.complete(&ask("say b")).await.unwrap().text, "say b");
    // The server would answer that it has the batch already: the cost of giving it up.
    assert_eq!(server.count(Call::Create), 3);
}

#[tokio::test]
async fn a_folder_that_changes_while_it_is_used_gives_no_wrong_answer() {
    let (server, folder) = (Server::start().await, tempdir().unwrap());
    let model = builder(&server, folder.path()).open().unwrap();
    model.complete(&ask("say a")).await.unwrap();
    let path = folder.path().join("000001.output.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let id = text
        .split("\"custom_id\":\"")
        .nth(1)
        .unwrap()
        .get(..32)
        .unwrap();
    for broken in [
        text.replace(id, &"0".repeat(32)),
        text[..text.len() / 2].to_owned(),
        String::new(),
    ] {
        fs::write(&path, broken).unwrap();
        let error = model.complete(&ask("say a")).await.unwrap_err();
        assert!(
            matches!(error, Error::Input { .. } | Error::Stopped { .. }),
            "{}",
            shown(&error)
        );
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        model.complete(&ask("say a")).await,
        Err(Error::Io { .. })
    ));
}
