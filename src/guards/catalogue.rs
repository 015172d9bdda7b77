//! The dialects of the crate, one file each.

macro_rules! files {
    ($($file:literal),+ $(,)?) => {
        /// The files of the dialects, in the order of the table in `docs/guards.md`.
        pub(super) const FILES: &[&str] = &[$(include_str!(concat!("dialects/", $file, ".json"))),+];
    };
}

files! {
    "qwen3guard-gen",
    "llama-guard-2",
    "llama-guard-3",
    "llama-guard-4",
    "wildguard",
    "polyguard",
    "shieldgemma",
    "granite-guardian-3.2",
    "granite-guardian-3.3",
    "granite-guardian-4.1",
    "granite-guardian-4.1-think",
    "nemotron-safety-guard-v2",
    "nemotron-safety-guard-v3",
    "nemotron-content-safety-reasoning",
    "nemotron-content-safety-reasoning-think",
    "gpt-oss-safeguard",
    "gpt-oss-safeguard-json",
    "md-judge-0.1",
    "aegis-1",
    "harmbench",
    "strongreject",
    "openai-moderation",
    "instruct-rubric",
    "instruct-rubric-ja",
    "instruct-yes-no",
}
