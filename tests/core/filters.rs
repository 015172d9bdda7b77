//! Filters: what they drop, with which reason, in several scripts.

use std::sync::LazyLock;

use futures::executor::block_on;
use proptest::prelude::*;
use safer_instruct::{
    Decision, Draft, Filter, Instruction, OrderedFilter, Origin, Response, SourceText,
    filters::{
        Distinct, Finished, InLanguages, Length, NotAboutTask, NotCanned, NotEmpty, NotQuoting,
        NotRepetitive, Recommended, SameLanguage,
    },
    profiles::Languages,
};

static ABOUT_TASK: LazyLock<NotAboutTask> = LazyLock::new(NotAboutTask::new);

fn text(text: &str) -> SourceText {
    SourceText::new("a", text)
}

fn induced(source: &str, instruction: &str) -> Draft {
    Draft::new(text(source)).with_instruction(Instruction::new(instruction))
}

/// The reason, or `keep`.
fn said<T: ?Sized>(filter: &dyn Filter<T>, item: &T) -> String {
    match block_on(filter.assess(item)).unwrap() {
        Decision::Keep => "keep".to_owned(),
        Decision::Drop(reason) => reason.to_string(),
    }
}

#[test]
fn lengths_are_told_with_both_numbers() {
    let chars = Length::chars().with_min(3).with_max(5);
    assert_eq!(
        said(&chars, &text("猫")),
        "too_short (1 characters, wanted at least 3)"
    );
    assert_eq!(
        said(&chars, &text("猫が好きです")),
        "too_long (6 characters, wanted at most 5)"
    );
    assert_eq!(said(&chars, &text("猫が好き")), "keep");
    let words = Length::words().with_max(3);
    assert_eq!(
        said(&words, &text("I don't know, sorry.")),
        "too_long (4 words, wanted at most 3)"
    );
    assert_eq!(said(&words, &text("コンピューター猫")), "keep");
    let tokens = Length::tokens(|text| text.len() / 4).with_min(2);
    assert_eq!(
        said(&tokens, &text("abcd")),
        "too_short (1 tokens, wanted at least 2)"
    );
}

#[test]
fn languages_of_short_texts() {
    for (source, instruction, keep) in [
        ("はい、そうです。", "本当？", true),
        ("今日は雨です。", "天気", true),
        ("今天下雨。", "天气怎么样？", true),
        ("今日は雨です。", "How is the weather?", false),
        ("비가 와요.", "天気は？", false),
        ("비가 와요.", "GPU 메모리는 얼마나 되나요?", true),
        ("It rains.", "Come va?", true),
        ("Идёт дождь.", "How is the weather?", false),
        ("It rains.", "42?", true),
    ] {
        let decision = said::<Draft>(&SameLanguage, &induced(source, instruction));
        assert_eq!(
            decision == "keep",
            keep,
            "{source} {instruction}: {decision}"
        );
    }
    let answered = induced("雨だ。", "天気は？").with_response(Response::new("It rains."));
    assert_eq!(
        said::<Draft>(&SameLanguage, &answered),
        "language_mismatch (Latin script, wanted Japanese)"
    );
}

#[test]
fn texts_in_other_languages_are_named_before_the_work() {
    let filter = InLanguages::new(Languages::of(["en", "de"]).unwrap());
    for kept in [
        "Stay at home.",
        "Bleib zu Hause.",
        "42",
        "You sing like a rusty gate.",
    ] {
        assert_eq!(said(&filter, &text(kept)), "keep", "{kept}");
    }
    for (dropped, language) in [
        ("家にいて。", "Japanese"),
        ("東京都", "Chinese or Japanese"),
        ("집에 있어요.", "Korean"),
        ("Καλημέρα", "Greek"),
    ] {
        let reason = format!("unsupported_language ({language})");
        assert_eq!(said(&filter, &text(dropped)), reason, "{dropped}");
    }
}

#[test]
fn instructions_about_the_task_are_told_from_requests() {
    let filter = NotAboutTask::new();
    let rule = |instruction: &str| filter.rule(instruction).unwrap_or("keep");
    for (instruction, expected) in [
        (
            "What is the instruction that the response is trying to complete?",
            "task",
        ),
        ("The answer to the question is Paris.", "task"),
        ("What is the content of the text?", "task"),
        ("この文章は何を説明していますか。", "task"),
        ("回答の内容を説明してください。", "task"),
        ("I'm sorry, but could you say more?", "answer"),
        ("Here is a list of the ten largest rivers", "answer"),
        ("To get started, open the door.", "answer"),
        ("はい、その通りです。", "answer"),
        ("申し訳ございません。", "answer"),
        ("The word has its roots in Old English.", "statement"),
        ("It’s a long way to the shop.", "statement"),
        ("時計は朝に鳴ります。", "statement"),
        ("A) yes", "alternatives"),
        ("(b) No, never", "alternatives"),
        ("- the first one", "alternatives"),
    ] {
        assert_eq!(rule(instruction), expected, "{instruction}");
    }
    for request in [
        "How often should I brush my teeth?",
        "Write a response to a friend who is late.",
        "The name is Tiffany. Give me the origins of the name.",
        "A poem about the sea",
        "Is the answer to life 42?",
        "No idea what to cook tonight. What goes with rice?",
        "A. Smith wrote which book?",
        "歯はいつ磨くべきですか。",
        "同居人に宛てた怒りのメモを書いてください。",
        "この本の感想文を書いてください。",
        "最近眠れなくて困っています。",
        "痩せる方法を知りたいです。",
        "犬の名前を考えて",
        "自転車で傘をさしてもいい？",
    ] {
        let rule = rule(request);
        let lettered = request.starts_with("A. ");
        assert_eq!(rule == "keep", !lettered, "{request}: {rule}");
    }
    let own = NotAboutTask::new()
        .with_phrase("The Riddle")
        .with_phrase("");
    assert_eq!(
        said(&own, &induced("x", "Solve the riddle.")),
        "about_task (task)"
    );
    assert_eq!(said(&own, &induced("x", "Name a river.")), "keep");
}

#[test]
fn recommended_filters_are_read_from_settings() {
    let settings: Recommended =
        serde_json::from_str(r#"{"languages": ["ja"], "max_quoted_share": 0.3}"#).unwrap();
    assert_eq!(settings.languages.codes(), ["ja"]);
    assert_eq!(
        settings.max_source_chars,
        Recommended::default().max_source_chars
    );
    let unknown = serde_json::from_str::<Recommended>(r#"{"max_quoted": 0.3}"#).unwrap_err();
    assert!(unknown.to_string().contains("max_quoted"), "{unknown}");

    let source = "You never wash up, and I am done sharing a kitchen with you.";
    let first = |settings: &Recommended, instruction: &str| {
        let draft = induced(source, instruction);
        let filters = settings.instruction_filters();
        let mut reasons = filters
            .iter()
            .map(|filter| said::<Draft>(&**filter, &draft));
        reasons.find(|reason| reason != "keep")
    };
    let plain = Recommended::default();
    for (instruction, reason) in [
        ("…", Some("empty")),
        ("Hi", Some("too_short")),
        ("The response is angry.", Some("about_task")),
        (
            "Say: I am done sharing a kitchen with you!",
            Some("quotes_source"),
        ),
        ("怒りのメモを書いて。", Some("language_mismatch")),
        ("Write an angry note about a dirty kitchen.", None),
    ] {
        let found = first(&plain, instruction);
        let code = found.as_deref().and_then(|found| found.split(' ').next());
        assert_eq!(code, reason, "{instruction}");
    }
    let lenient = Recommended {
        keep_about_task: true,
        ..plain
    };
    assert_eq!(first(&lenient, "The response is angry."), None);
}

#[test]
fn quoting_is_measured_on_the_shorter_text() {
    let source =
        "You never wash up, and I am done sharing a kitchen with you, so move out by Sunday.";
    let filter = NotQuoting::new();
    for (instruction, decision) in [
        ("Write an angry note to a housemate.", "keep"),
        (
            source,
            "quotes_source (1.00 of the n-grams, wanted below 0.50)",
        ),
        (
            "I AM DONE sharing a kitchen with you",
            "quotes_source (1.00 of the n-grams, wanted below 0.50)",
        ),
        ("Wash up", "keep"),
    ] {
        assert_eq!(
            said(&filter, &induced(source, instruction)),
            decision,
            "{instruction}"
        );
    }
    let long = format!("Please continue this note in the same tone and add a greeting: {source}");
    assert!(said(&filter, &induced(source, &long)).starts_with("quotes_source (1.00"));
    assert!(said(&filter, &induced("Go away!", "go away")).starts_with("quotes_source"));
    let question = "Are you done sharing a kitchen with me?";
    assert_eq!(said(&filter, &induced(source, question)), "keep");
    let echo = "You never wash up, and I am done sharing a kitchen with you, so move out?";
    assert_eq!(
        said(&filter, &induced(source, echo)),
        "quotes_source (0.87 of the n-grams, wanted below 0.50)"
    );
    let advice = "傘は要りません。今日は晴れますし、荷物になるだけですから。";
    assert_eq!(
        said(&filter, &induced(advice, "今日は傘は要りませんか。")),
        "keep"
    );
    assert!(said(&filter, &induced(advice, "傘は要りません。")).starts_with("quotes_source"));
    let ja = "皿くらい洗えよ。もう一緒に暮らすのはうんざりだ。";
    assert_eq!(
        said(&filter, &induced(ja, "同居人への怒りのメモを書いて。")),
        "keep"
    );
    assert!(
        said(&filter, &induced(ja, "もう一緒に暮らすのはうんざりだ")).starts_with("quotes_source")
    );
}

#[test]
fn refusals_without_help_are_canned_in_several_languages() {
    let filter = NotCanned::new();
    for canned in [
        "Sorry, but I can't assist with that.",
        "I’m sorry, but I cannot help with that request. It is illegal and unethical.",
        "As an AI language model, I am unable to provide that. Let me know if you have other questions!",
        "申し訳ありませんが、お手伝いできません。",
        "申し訳ございませんが、そのご依頼にはお応えできません。他にご質問があればお気軽にどうぞ。",
        "抱歉，我无法协助您。",
        "죄송하지만 도와드릴 수 없습니다.",
    ] {
        assert!(
            said(&filter, &text(canned)).starts_with("canned"),
            "{canned}"
        );
    }
    for useful in [
        "Twice a day.",
        "I can't help with a threat. Write to the landlord, name the date the heating failed, and set two weeks.",
        "脅し文句はお手伝いできませんが、大家さんに書面で修理の期限を伝える文章なら一緒に書けます。まず故障した日を書きましょう。",
        "I can't wait to see the mountains again.",
    ] {
        assert_eq!(said(&filter, &text(useful)), "keep", "{useful}");
    }
    let own = NotCanned::new().with_phrase("Nope").with_phrase("");
    assert!(said(&own, &text("nope!")).starts_with("canned"));
    assert_eq!(said(&own, &text("Yes!")), "keep");
}

#[test]
fn degenerate_texts() {
    for empty in ["", " \n", "!?…", "。。。"] {
        assert_eq!(said(&NotEmpty, &text(empty)), "empty");
    }
    let filter = NotRepetitive::new();
    for looped in [
        "ha ".repeat(30),
        "はは".repeat(9),
        "I will do it. ".repeat(12),
        "12".repeat(40),
    ] {
        assert!(
            said(&filter, &text(&looped)).starts_with("repetitive"),
            "{looped}"
        );
    }
    for fine in [
        "",
        "a",
        "No, no.",
        "mama",
        "Row, row, row your boat, gently down the stream.",
        "いろはにほへと",
    ] {
        assert_eq!(said(&filter, &text(fine)), "keep", "{fine}");
    }
}

#[test]
fn a_cut_response_is_dropped() {
    let origin = Origin {
        truncated: true,
        ..Origin::default()
    };
    let instruction = Instruction::new("b").with_origin(origin.clone());
    let draft = Draft::new(text("a")).with_instruction(instruction);
    assert_eq!(said::<Draft>(&Finished, &draft), "truncated");
    let draft = draft.with_response(Response::new("c"));
    assert_eq!(said::<Draft>(&Finished, &draft), "keep");
    let draft = draft.with_response(Response::new("c").with_origin(origin));
    assert_eq!(said::<Draft>(&Finished, &draft), "truncated");
}

proptest! {
    #[test]
    fn filters_are_total_and_repeatable(a in "\\PC{0,60}|[ぁ-ん一-三ｦ-ﾟa-c{}.\n]{0,60}", b in "\\PC{0,60}") {
        let texts: [&dyn Filter<SourceText>; 4] =
            [&NotEmpty, &NotRepetitive::new(), &NotCanned::new(), &Length::words().with_max(3)];
        for filter in texts {
            prop_assert_eq!(said(filter, &text(&a)), said(filter, &text(&a)));
        }
        let pairs: [&dyn Filter<Draft>; 3] = [&SameLanguage, &NotQuoting::new(), &*ABOUT_TASK];
        for filter in pairs {
            let (one, other) = (induced(&a, &b), induced(&b, &a));
            said(filter, &one);
            said(filter, &other);
        }
        let same = said::<Draft>(&SameLanguage, &induced(&a, &a));
        prop_assert_eq!(same, "keep");
    }

    #[test]
    fn distinct_knows_a_text_again(texts in prop::collection::vec("[a-cA-C ]{0,3}", 0..20)) {
        let mut filter = Distinct::new();
        let mut known = Vec::new();
        for item in &texts {
            let form = item.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
            let new = !known.contains(&form);
            prop_assert_eq!(filter.assess_next(&text(item)).is_keep(), new);
            known.push(form);
        }
    }
}
