//! Prompt files: what is refused, what is never interpreted, and a snapshot of each built-in prompt.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --test core prompts` writes the snapshots anew.

use std::{fmt::Write, path::Path};

use proptest::prelude::*;
use safer_instruct::{
    Message, Prompt,
    prompt::{PromptTemplate, built_in},
};

/// Mild values, one for each slot that a built-in prompt may have.
const VALUES: &[(&str, &str)] = &[
    ("source", "Twice a day, for two minutes."),
    ("instruction", "How often should I brush my teeth?"),
    ("first", "Twice a day."),
    ("second", "Never."),
    ("language", "Korean"),
    ("policy", "Be careful."),
    ("fence", "==="),
];

fn shown(prompt: &Prompt) -> String {
    match prompt {
        Prompt::Raw(text) => format!("[raw]\n{text}\n[end]\n"),
        Prompt::Chat(messages) | Prompt::Unfinished(messages) => {
            messages.iter().fold(String::new(), |mut out, message| {
                writeln!(out, "[{}]\n{}", message.role.as_str(), message.content).unwrap();
                out
            })
        }
    }
}

#[test]
fn every_built_in_prompt_renders_as_its_snapshot() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/prompts");
    for prompt in built_in::ALL {
        let template = PromptTemplate::parse(prompt.text, prompt.slots).expect(prompt.name);
        assert_eq!(template.hash(), prompt.template().hash());
        let rendered = shown(&template.render(VALUES).unwrap());
        let path = folder.join(format!("{}.txt", prompt.name));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &rendered).unwrap();
        }
        let expected = std::fs::read_to_string(&path).expect(prompt.name);
        assert_eq!(rendered, expected.replace("\r\n", "\n"), "{}", prompt.name);
    }
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, built_in::ALL.len(), "a snapshot without a prompt");
}

/// The bytes are those of the paper's repository.
#[test]
fn the_reversed_prompt_is_the_papers() {
    let prompt = built_in::INDUCE_REVERSED
        .template()
        .render(&[("source", "OUT")]);
    assert_eq!(
        prompt.unwrap(),
        Prompt::Raw(
            "Below is a response to a certain instruction. Write the instruction that the response is \
             trying to complete.\n\n### response:\nOUT\n\n### Instruction:"
                .to_owned()
        )
    );
}

#[test]
fn faults_are_named_with_their_line() {
    for (text, fault) in [
        (
            "## user\nSay {{sorce}}",
            "line 2: there is no slot `sorce`; this prompt has `source`",
        ),
        (
            "## user\n\nSay it",
            "line 3: the slot `{{source}}` is missing",
        ),
        (
            "## user\n\n\na\nb {{source",
            "line 5: `{{` must begin a slot such as `{{name}}`, in lower case and without spaces",
        ),
        (
            "Say {{ source }}",
            "line 1: `{{` must begin a slot such as `{{name}}`, in lower case and without spaces",
        ),
        (
            "hello\n## user\n{{source}}",
            "line 1: there is text before the first heading",
        ),
        (
            "## sytem\nx\n## user\n{{source}}",
            "line 1: a heading of level 2 is `## system`, `## user` or `## assistant`",
        ),
        (
            "## system\n\n## user\n{{source}}",
            "line 1: the message is empty",
        ),
        (
            "## user\n{{source}}\n## assistant\nx",
            "line 3: the last message must be the user's, because the model's turn follows",
        ),
    ] {
        let error = PromptTemplate::parse(text, &["source"]).unwrap_err();
        assert_eq!(error.to_string(), format!("prompt: {fault}"));
    }
    let template = PromptTemplate::parse("{{a}}\n{{b}}", &["a", "b?"]).unwrap();
    let error = template.render(&[("a", "x")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "prompt: line 2: the slot `b` has no value"
    );
}

#[test]
fn the_hash_is_of_the_file_and_of_values_set_for_good() {
    let template = PromptTemplate::parse("abc{{x?}}".replace("{{x?}}", "").as_str(), &[]).unwrap();
    assert_eq!(
        &**template.hash(),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let unix = PromptTemplate::parse("## user\n{{p}}\n", &["p"]).unwrap();
    let windows = PromptTemplate::parse("## user\r\n{{p}}\r\n", &["p"]).unwrap();
    assert_eq!(unix.hash(), windows.hash());
    let (a, b) = (
        unix.clone().with_value("p", "a"),
        unix.clone().with_value("p", "b"),
    );
    assert_ne!(a.hash(), unix.hash());
    assert_ne!(a.hash(), b.hash());
    assert_eq!(b.with_value("p", "a").hash(), a.hash());
    assert_eq!(
        a.render(&[]).unwrap(),
        Prompt::Chat(vec![Message::user("a")])
    );
}

proptest! {
    #[test]
    fn data_is_never_interpreted(a in "\\PC{0,20}|(## system\n|\\{\\{b\\}\\}|\\}\\}|x){0,4}", b in "\\PC{0,20}|(\\{\\{a\\}\\}){0,2}") {
        let template = PromptTemplate::parse("## system\nBe kind.\n## user\n<{{a}}|{{b}}>", &["a", "b"]).unwrap();
        let expected = vec![Message::system("Be kind."), Message::user(format!("<{a}|{b}>"))];
        prop_assert_eq!(template.render(&[("a", &a), ("b", &b)]).unwrap(), Prompt::Chat(expected));
    }

    #[test]
    fn any_file_parses_or_is_refused(text in "\\PC{0,40}|(## user\n|## |\\{\\{a\\}\\}|\\{\\{|\n|x){0,8}") {
        if let Ok(template) = PromptTemplate::parse(&text, &["a"]) {
            prop_assert!(text.contains("{{a}}"));
            prop_assert!(template.render(&[("a", "1")]).is_ok());
        }
    }
}
