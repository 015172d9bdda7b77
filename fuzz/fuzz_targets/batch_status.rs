//! The batch endpoints: each alone, and all of them as a model goes through them, which loses no answer that it gave once.
#![no_main]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use futures::{FutureExt, executor::block_on, future::join};
use libfuzzer_sys::fuzz_target;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Result, Sampling,
    backends::openai::{
        OpenAiModel,
        batch::{BatchClient, BatchModel, RequestLine},
    },
};
use safer_instruct_fuzz::{Script, check};

/// Fixed, so that a script can name the batches of the folder: `fuzz-000001` and so on.
const HEAD: &str = r#"{"format":1,"id":"fuzz","base_url":"http://localhost/v1"}"#;

fuzz_target!(|input: &[u8]| {
    let script = Script::read(input);
    if script.has("limits") {
        return;
    }
    if script.has("client") {
        let client = BatchClient::new(&script.model()).unwrap();
        each_endpoint(&client).now_or_never().unwrap();
    } else {
        whole(script);
    }
});

/// What is given is the server's own words, which are not looked at.
async fn each_endpoint(client: &BatchClient) {
    check(&client.upload(b"{}\n").await.map(drop), &[]);
    let about = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    let path = "/v1/chat/completions";
    check(
        &client.create("file-1", path, "24h", &about).await.map(drop),
        &[],
    );
    check(&client.get("batch-1").await.map(drop), &[]);
    let page = client.list(None).await;
    if let Ok(page) = &page
        && let Some(last) = page.data.last()
    {
        check(&client.list(Some(&last.id)).await.map(drop), &[]);
        check(&client.cancel(&last.id).await.map(drop), &[]);
    }
    check(&page.map(drop), &[]);
    check(&client.content("file-1").await.map(drop), &[]);
}

fn whole(script: Script) {
    let (first, texts) = (script.request(), script.texts());
    let second = first.clone().with_sampling(Sampling {
        seed: 1,
        ..Sampling::default()
    });
    // The names depend on the server, and on no answer.
    let asked = Script::read(&[])
        .builder()
        .with_server(script.server())
        .build()
        .unwrap();
    let name = |request| RequestLine::new(&asked, request).map(|line| line.custom_id().to_owned());
    let (Ok(one), Ok(two)) = (name(&first), name(&second)) else {
        return;
    };
    let model = script.naming([("@first", &one), ("@second", &two)]).model();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("folder.json"), HEAD).unwrap();
    let before = both(&model, folder.path(), &first, &second, &texts);
    let after = both(&model, folder.path(), &first, &second, &texts);
    for (before, after) in before.iter().zip(&after) {
        if let Ok(before) = before {
            assert!(
                after.as_ref().is_ok_and(|after| after == before),
                "lost in the folder"
            );
        }
    }
}

fn both(
    model: &OpenAiModel,
    folder: &Path,
    first: &ChatRequest,
    second: &ChatRequest,
    texts: &[&str],
) -> [Result<Completion>; 2] {
    let model = BatchModel::builder(model.clone(), folder)
        .with_patience(Duration::from_secs(600))
        .open()
        .unwrap();
    let (first, second) = block_on(join(model.complete(first), model.complete(second)));
    check(&first, texts);
    check(&second, texts);
    [first, second]
}
