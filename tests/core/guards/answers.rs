//! What the dialects read.

use proptest::prelude::*;
use safer_instruct::{Safety, guards::Dialect};

use super::{Of, documented, read};

#[test]
fn documented_answers_are_read_as_documented() {
    for (dialect, answers) in documented() {
        for (number, expected) in answers.iter().enumerate() {
            let found = read(dialect, expected.of, &expected.answer());
            let case = format!("{}, answer {number}", dialect.id());
            assert_eq!(found.safety, expected.safety, "{case}");
            assert_eq!(found.categories, expected.categories, "{case}");
            assert_eq!(found.p_refusal, expected.p_refusal, "{case}");
            assert_eq!(found.p_unsafe, expected.p_unsafe, "{case}");
            assert_eq!(found.raw, Some(expected.answer()), "{case}");
        }
        let of = |of| answers.iter().filter(move |answer| answer.of == of);
        assert!(
            of(Of::Response).any(|answer| answer.safety == Safety::Safe)
                && of(Of::Response).any(|answer| answer.safety == Safety::Unsafe),
            "{} has answers for both verdicts",
            dialect.id()
        );
    }
}

/// What a verdict may have become when it is changed a little.
fn damaged(answer: &str) -> Vec<String> {
    let mut all = vec![
        format!("{answer}\n{answer}"),
        format!("{answer} {answer}"),
        format!("{answer}\nsafe"),
        format!("{answer}\nunsafe"),
        format!("{answer}\nSafety: Safe"),
        format!("{answer}\n<score>no</score>"),
        format!("`{answer}`"),
        format!("```\n{answer}\n```"),
        format!("\"{answer}\""),
        format!("{answer} or not"),
        answer.replace(' ', "_") + "_",
    ];
    if !answer.contains("#scores") {
        // Before the grades of StrongREJECT there may be anything.
        all.extend(
            ["Not ", "Sure! ", "Verdict: ", "not", "1. "].map(|before| format!("{before}{answer}")),
        );
    }
    all
}

#[test]
fn a_damaged_answer_is_no_verdict() {
    for (dialect, answers) in documented() {
        for (number, expected) in answers.iter().enumerate() {
            for (kind, text) in damaged(expected.answer().trim()).iter().enumerate() {
                let found = read(dialect, expected.of, text);
                let case = format!("{}, answer {number}, damage {kind}", dialect.id());
                let graded = text.contains("#scores") && kind >= 2;
                assert!(found.safety == Safety::Unparsed || graded, "{case}");
            }
        }
    }
}

#[test]
fn an_answer_that_ends_early_is_never_safe() {
    for (dialect, answers) in documented() {
        for expected in answers.iter().filter(|it| it.of == Of::Response) {
            let text = expected.answer();
            let whole = dialect.read(&text);
            for (at, _) in text.trim_end().char_indices() {
                let found = dialect.read(&text[..at]);
                // `unsafe` without its last line may read like another verdict, but no beginning of it is `safe`.
                let harmless = found.safety != Safety::Safe || whole.safety == Safety::Safe;
                assert!(harmless, "{} cut at {at}", dialect.id());
            }
        }
    }
}

#[cfg(feature = "testkit")]
#[test]
fn no_dialect_takes_garbage_for_a_verdict() {
    for garbage in safer_instruct::testkit::NO_VERDICTS {
        for dialect in Dialect::all() {
            let case = format!("{}: {}", dialect.id(), garbage.name);
            let found = dialect.read(&garbage.text());
            assert_eq!(found.safety, Safety::Unparsed, "{case}");
            if dialect.reads_instructions() && !garbage.name.contains("response") {
                let found = dialect.read_instruction(&garbage.text()).unwrap();
                assert_eq!(found.safety, Safety::Unparsed, "{case}, of an instruction");
            }
        }
    }
}

#[cfg(feature = "testkit")]
#[test]
fn every_dialect_reads_strictly() {
    use safer_instruct::{guards::DialectGuard, testkit::guards::reads_strictly};

    for (dialect, answers) in documented() {
        let responses = answers.iter().filter(|it| it.of == Of::Response);
        let verdicts: Vec<String> = responses.map(super::Documented::answer).collect();
        let verdicts: Vec<&str> = verdicts.iter().map(String::as_str).collect();
        let make = |model| DialectGuard::new(dialect.clone().with_policy("Be kind."), model);
        let checked = futures::executor::block_on(reads_strictly(make, &verdicts));
        assert!(checked.is_ok(), "{}: {checked:?}", dialect.id());
    }
}

proptest! {
    #[test]
    fn any_answer_is_read_without_a_panic(answer in "\\PC{0,60}|[safeunYNo01{}<>:,\n\"score/ ]{0,60}") {
        for dialect in Dialect::all() {
            let found = dialect.read(&answer);
            let numbers = [found.p_unsafe, found.p_refusal];
            prop_assert!(numbers.iter().flatten().all(|p| (0.0..=1.0).contains(p)));
            prop_assert!(found.safety != Safety::Safe || found.categories.is_empty());
            if dialect.reads_instructions() {
                let _ = dialect.read_instruction(&answer).unwrap();
            }
        }
    }

    #[test]
    fn an_answer_without_a_word_for_a_verdict_is_none(answer in "[b-dg-mp-rt-xzB-DG-MP-RT-XZ2-9 :.,\n{}\\[\\]<>/\"']{0,80}") {
        for dialect in Dialect::all() {
            prop_assert_eq!(dialect.read(&answer).safety, Safety::Unparsed, "{}", dialect.id());
        }
    }

    #[test]
    fn a_verdict_in_prose_is_none(
        before in "[a-zA-Z]{1,12}( [a-zA-Z]{1,12}){0,3}",
        word in prop::sample::select(vec!["safe", "unsafe", "Safe", "Yes", "No", "yes", "no", "0", "1", "harmful"]),
        after in "( [a-z]{1,12}){0,3}",
    ) {
        let answer = format!("{before} {word}{after}.");
        for dialect in Dialect::all() {
            prop_assert_eq!(dialect.read(&answer).safety, Safety::Unparsed, "{}", dialect.id());
        }
    }
}
