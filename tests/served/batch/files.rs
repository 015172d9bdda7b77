//! Batch files without a server.

use std::fs;

use safer_instruct::{
    ChatRequest, Error, Prompt,
    backends::openai::{
        OpenAiModel,
        batch::{BatchLimits, BatchReader, BatchWriter},
    },
};
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{ask, plain, shown};

fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn requests_are_written_as_servers_and_run_batch_read_them() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let mut writer = BatchWriter::create(&plain("http://host/v1"), &path).unwrap();
    let request = ask("Name a river.").with_max_tokens(5);
    let id = writer.write(&request).unwrap();
    assert_eq!(writer.write(&request).unwrap(), id);
    assert_eq!(writer.finish().unwrap(), std::slice::from_ref(&path));
    let body = json!({
        "model": "m", "messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 5, "temperature": 0.0, "seed": 0,
    });
    let line =
        json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body});
    assert_eq!(lines(&path), [line]);
    // Fields of the caller's own are part of the request.
    let path = folder.path().join("brief.jsonl");
    let brief = OpenAiModel::builder("http://host/v1", "m")
        .with_field("reasoning_effort", "low")
        .with_field("seed", Value::Null);
    let mut writer = BatchWriter::create(&brief.build().unwrap(), &path).unwrap();
    assert_ne!(writer.write(&request).unwrap(), id);
    writer.finish().unwrap();
    let body = &lines(&path)[0]["body"];
    assert_eq!(body["reasoning_effort"], "low");
    assert_eq!(body.get("seed"), None);
    // The same in every process and version.
    assert_eq!(id, "dad487e61fbd9fe5ee487c14d0e2a8bf");
}

#[test]
fn a_file_that_is_full_is_gone_on_with_in_another() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let model = plain("http://host/v1");
    let limits = BatchLimits {
        requests: 2,
        ..BatchLimits::default()
    };
    let mut writer = BatchWriter::create(&model, &path)
        .unwrap()
        .with_limits(limits);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(writer.write(&ask(format!("say {n}"))).unwrap());
        if n == 0 {
            writer
                .write(&ChatRequest::new(Prompt::Raw("say raw".into())))
                .unwrap();
        }
    }
    let paths = writer.finish().unwrap();
    let names = [
        "requests.jsonl",
        "requests-2.jsonl",
        "requests-3.jsonl",
        "requests-4.jsonl",
    ];
    assert_eq!(paths, names.map(|name| folder.path().join(name)));
    let sizes: Vec<usize> = paths.iter().map(|path| lines(path).len()).collect();
    assert_eq!(sizes, [2, 1, 2, 1]);
    assert_eq!(lines(&paths[1])[0]["url"], "/v1/completions");
    let found: Vec<Value> = [0, 2, 3]
        .iter()
        .flat_map(|at| lines(&paths[*at]))
        .map(|line| line["custom_id"].clone())
        .collect();
    assert_eq!(found, ids);

    // By bytes: as many as fit, and not one more.
    let size = fs::metadata(&paths[0]).unwrap().len() as usize;
    for (bytes, files) in [(size, 1), (size - 1, 2)] {
        let folder = tempdir().unwrap();
        let limits = BatchLimits {
            bytes,
            ..BatchLimits::default()
        };
        let mut writer = BatchWriter::create(&model, folder.path().join("r"))
            .unwrap()
            .with_limits(limits);
        for n in 0..2 {
            writer.write(&ask(format!("say {n}"))).unwrap();
        }
        let long = writer.write(&ask("kettle ".repeat(99))).unwrap_err();
        assert!(shown(&long).contains("shorten the text or raise the limits"));
        assert_eq!(writer.finish().unwrap().len(), files);
    }
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    fs::write(&path, "mine").unwrap();
    let mut writer = BatchWriter::create(&plain("http://host/v1"), &path).unwrap();
    assert!(matches!(
        writer.write(&ask("kettle")),
        Err(Error::Io { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    assert!(BatchWriter::create(&plain("http://host/v1"), "/").is_err());
}

#[test]
fn results_become_completions_and_errors() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    let said = json!({"choices": [{"message": {"content": "The Loire.\nIt is long."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 8}});
    let quoted = json!({"object": "error", "message": "cannot read: The kettle sings in the morning.", "type": "BadRequestError", "code": 400});
    let rows = [
        json!({"id": "1", "custom_id": "a", "response": {"status_code": 200, "request_id": "r", "body": said}, "error": null}),
        // As vLLM writes them, older and newer.
        json!({"id": "2", "custom_id": "b", "response": {"status_code": 400, "request_id": "r", "body": null}, "error": quoted}),
        json!({"id": "3", "custom_id": "c", "response": {"status_code": 400, "request_id": "r"}, "error": {"error": {"message": "This model's maximum context length is 8 tokens. However, you requested 9 tokens"}}}),
        json!({"id": "4", "custom_id": "d", "response": {"status_code": 400, "request_id": "r"}, "error": "no stream mode"}),
        json!({"id": "5", "custom_id": "e", "response": null, "error": {"code": "batch_expired", "message": "m"}}),
        json!({"id": "6", "custom_id": "f", "response": null, "error": {"code": "The kettle sings."}}),
        json!({"id": "7", "custom_id": "g", "response": {"status_code": 200, "body": "<html>"}}),
    ];
    let text: Vec<String> = rows.iter().map(ToString::to_string).collect();
    fs::write(&path, text.join("\n")).unwrap();
    let model = plain("http://host/v1");
    let request = ask("The kettle sings in the morning.").with_stop("\n");
    let found: Vec<String> = BatchReader::open(&path)
        .unwrap()
        .map(|row| {
            let row = row.unwrap();
            assert!(!format!("{row:?}").contains("kettle"), "{row:?}");
            assert_eq!(row.is_answered(), matches!(row.custom_id(), "a" | "g"));
            row.completion(&model, &request)
                .map_or_else(|error| shown(&error), |completion| completion.text)
        })
        .collect();
    assert_eq!(
        found,
        [
            "The Loire.",
            "m at http://host/v1 refused the request: it cannot serve the request (status 400)",
            "m has a context of 8 tokens, and this request needs 9: 1 too many; shorten the text or lower max_tokens",
            "m at http://host/v1 refused the request: it cannot serve the request (status 400); it says: no stream mode",
            "the connection to m at http://host/v1 failed: the batch failed to serve the request (batch_expired)",
            "the connection to m at http://host/v1 failed: the batch failed to serve the request",
            "the connection to m at http://host/v1 failed: it answers with a page, not with JSON; is the base URL that of an OpenAI-compatible server, and is there a proxy between?",
        ]
    );
}
