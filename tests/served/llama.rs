//! A served model over the real server of llama.cpp, beside the same file in this process.

use std::sync::LazyLock;

use futures::{StreamExt, stream};
use safer_instruct::{
    ChatModel, ChatRequest, Error, Message, Outcome, Pipeline, Prompt, ScoreRequest, ScoringModel,
    SourceText,
    backends::openai::{Need, OpenAiModel, Server},
    judges::LikelihoodJudge,
    stages::{ExpertResponse, ReversedInduction},
    testkit::{chat_laws, scoring_laws},
};

use crate::candle_support::{
    block_on,
    oracle::{F32_COPY, Served, tiny_model},
    reference,
};

/// The default model. One slot: with several, llama.cpp's sums depend on what else it works on.
fn served() -> OpenAiModel {
    static SERVED: LazyLock<Served> = LazyLock::new(|| Served::start(&F32_COPY, 1));
    static MODEL: LazyLock<OpenAiModel> = LazyLock::new(|| {
        let builder = OpenAiModel::builder(&SERVED.base_url, "smollm2");
        let all = [
            Need::RawPrompts,
            Need::Logprobs,
            Need::Scores,
            Need::RawScores,
            Need::Choices,
            Need::JsonSchema,
        ];
        let builder = all
            .into_iter()
            .fold(builder, |builder, need| builder.with_need(need));
        block_on(builder.connect()).expect("llama.cpp has all that may be needed")
    });
    MODEL.clone()
}

/// A model of random weights, which is fast: the laws are about the server.
fn tiny() -> OpenAiModel {
    static SERVED: LazyLock<Served> = LazyLock::new(|| Served::start(&tiny_model("none"), 1));
    static MODEL: LazyLock<OpenAiModel> = LazyLock::new(|| {
        let connecting = OpenAiModel::builder(&SERVED.base_url, "tiny").connect();
        block_on(connecting).expect("it can be connected to")
    });
    MODEL.clone()
}

chat_laws!(chat, tiny());
scoring_laws!(scoring, tiny());

#[test]
fn it_is_found_out() {
    assert_eq!(served().server(), Server::LlamaCpp);
}

#[test]
fn scores_are_those_of_the_same_file_in_this_process() {
    let requests = [
        ScoreRequest::new(
            vec![Message::user(
                "Which is larger, the sea or a pond? Answer in a word.",
            )],
            ["The sea", "A pond", "Tea, of course."],
        ),
        ScoreRequest::new(
            Prompt::Raw("The capital of France is".into()),
            [" Paris", " London.", " a city in Europe"],
        ),
        ScoreRequest::new(Prompt::Raw("お茶を".into()), ["飲みます。", "いれる"]),
    ];
    for request in requests {
        let theirs = block_on(served().score(&request)).unwrap().continuations;
        let ours = block_on(reference().score(&request)).unwrap().continuations;
        for (theirs, ours) in theirs.iter().zip(&ours) {
            assert_eq!(theirs.tokens, ours.tokens);
            let difference = (theirs.logprob - ours.logprob).abs();
            assert!(difference < 2e-2, "{} and {}", theirs.logprob, ours.logprob);
        }
    }
}

#[test]
fn a_text_that_is_too_long_says_by_how_much() {
    let long = "A kettle, a cup and a spoon stand on the table. ".repeat(1_000);
    let error =
        block_on(served().complete(&ChatRequest::new(vec![Message::user(long)]))).unwrap_err();
    assert!(
        matches!(error, Error::ContextOverflow { limit: 4096, needed, .. } if needed > 10_000),
        "{error:?}"
    );
}

/// The same stages over another model.
fn pairs<M>(model: M) -> Vec<Outcome>
where
    M: ChatModel + ScoringModel + Clone + 'static,
{
    let pipeline = Pipeline::new(
        ReversedInduction::new(model.clone()).with_max_tokens(24),
        ExpertResponse::new(model.clone()).with_max_tokens(24),
        LikelihoodJudge::new(model).with_tie_margin(0.0),
    )
    .with_concurrency(4);
    let texts = [
        (
            "a",
            "You will never learn to play the piano, so do not even try.",
        ),
        (
            "b",
            "Just skip the manual. Reading it is for people who cannot think.",
        ),
        ("c", "この仕事はあなたには無理です。やめたほうがいい。"),
    ];
    let texts = texts.map(|(id, text)| SourceText::new(id, text));
    block_on(pipeline.run(stream::iter(texts)).collect())
}

#[test]
fn the_same_pipeline_runs_on_both() {
    let (theirs, ours) = (pairs(served()), pairs(reference().clone()));
    assert_eq!(theirs.len(), 3);
    let mut equal = 0;
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert!(!matches!(theirs, Outcome::Failed { .. }), "{theirs:?}");
        let made = |outcome: &Outcome| match outcome {
            Outcome::Kept(pair) => Some((pair.prompt.clone(), pair.chosen.clone())),
            Outcome::Dropped { draft, .. } | Outcome::Failed { draft, .. } => {
                let (instruction, response) = (draft.instruction().ok()?, draft.response().ok()?);
                Some((instruction.text().to_owned(), response.text().to_owned()))
            }
        };
        equal += usize::from(made(theirs) == made(ours));
    }
    // Greedy texts differ where two tokens are nearly equally likely.
    assert!(equal >= 2, "{equal} of 3 are the same");
}
