//! A recorded model keeps the laws that the model keeps.

use async_trait::async_trait;
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Result, ScoreRequest, Scores, ScoringModel,
    run::{Journal, RecordedModel},
    testkit::{Latency, ScriptedModel, chat_laws, scoring_laws},
};

/// With the folder of its journal, which is removed after it.
struct InFolder {
    model: RecordedModel<Latency<ScriptedModel>>,
    _folder: tempfile::TempDir,
}

fn recorded() -> InFolder {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let journal = Journal::create(path, serde_json::Value::Null).unwrap();
    let model = Latency::new(ScriptedModel::new("How often should I brush my teeth?"), 1);
    InFolder {
        model: journal.record(model, "scripted"),
        _folder: folder,
    }
}

#[async_trait]
impl ChatModel for InFolder {
    async fn complete(&self, request: &ChatRequest) -> Result<Completion> {
        self.model.complete(request).await
    }
}

#[async_trait]
impl ScoringModel for InFolder {
    async fn score(&self, request: &ScoreRequest) -> Result<Scores> {
        self.model.score(request).await
    }
}

chat_laws!(chat, recorded());
scoring_laws!(scoring, recorded());
