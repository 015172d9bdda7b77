use std::{collections::BTreeSet, fs};

use clap::{CommandFactory, FromArgMatches, Parser};
use safer_instruct::filters::Recommended;

use super::*;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    given: Given,
}

fn options(words: &[&str]) -> Given {
    let words = std::iter::once("run").chain(words.iter().copied());
    let matches = Options::command().try_get_matches_from(words).unwrap();
    Options::from_arg_matches(&matches).unwrap().given
}

/// The template with every key given.
fn uncommented() -> String {
    let lines = DEFAULTS.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.split(' ').nth(1) == Some("=") => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn keys(table: &toml::Table) -> BTreeSet<String> {
    table
        .iter()
        .flat_map(|(section, keys)| {
            let keys = keys.as_table().unwrap().keys();
            keys.map(move |key| format!("{section}.{key}"))
        })
        .collect()
}

#[test]
fn the_template_parses_to_the_defaults() {
    let written: Given = toml::from_str(DEFAULTS).unwrap();
    assert_eq!(
        Settings::of(&[&written]).unwrap(),
        Settings::of(&[]).unwrap()
    );
    // It can set other values than the defaults too.
    let other = DEFAULTS.replace("seed = 0", "seed = 7");
    let other: Given = toml::from_str(&other).unwrap();
    assert_eq!(Settings::of(&[&other]).unwrap().run.seed, 7);
}

#[test]
fn every_key_stands_in_the_template_and_is_an_option() {
    let given: Given = toml::from_str(&uncommented()).unwrap();
    let keys = keys(&given.table().unwrap());
    let command = Options::command();
    let options = command.get_arguments().filter(|arg| !arg.is_hide_set());
    assert_eq!(keys.len(), options.count(), "{keys:?}");
    let settings = Settings::of(&[&given]).unwrap();
    assert_eq!(
        toml::Table::try_from(&settings).unwrap(),
        given.table().unwrap()
    );
}

#[test]
fn an_option_wins_over_the_file_and_the_file_over_the_default() {
    let file: Given =
        toml::from_str("[run]\nseed = 1\ndraws = 2\n[input]\nskip_bad = true\n").unwrap();
    let options = options(&[
        "--seed",
        "3",
        "--skip-bad=false",
        "--induce-model",
        "m",
        "--model",
        "n",
    ]);
    let settings = Settings::of(&[&file, &options]).unwrap();
    assert_eq!((settings.run.seed, settings.run.draws), (3, 2));
    assert!(!settings.input.skip_bad);
    assert_eq!(settings.induce.by.model.as_deref(), Some("m"));
    assert_eq!(
        (settings.model.name.as_str(), settings.judge.by.model),
        ("n", None)
    );
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    for (text, says) in [
        (
            "[input]\npth = \"a\"\n",
            ":2: there is no key `pth`; did you mean `path`?",
        ),
        (
            "[run]\nseed = 1\n\n[jugde]\n",
            ":4: there is no key `jugde`; did you mean `judge`?",
        ),
        (
            "[budget]\nfish = 1\n",
            ":2: there is no key `fish`; there are: money, tokens, requests, minutes",
        ),
        (
            "[run]\nseed = \"a\"\n",
            ":2: invalid type: string \"a\", expected u64",
        ),
        ("[run]\nseed = \n", ":2: "),
        (
            "[induce]\nform = \"cat\"\n",
            ":2: unknown variant `cat`, expected `reversed` or `chat`",
        ),
    ] {
        fs::write(&path, text).unwrap();
        let error = from_file(&path).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn paths_of_a_file_begin_at_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.toml");
    let text = "[input]\npath = \"posts.jsonl\"\n[model]\nname = \"models/a.gguf\"\n[induce]\nadapter = \"none\"\nmodel = \"smollm2-135m\"\n";
    fs::write(&path, text).unwrap();
    let settings = Settings::of(&[&from_file(&path).unwrap()]).unwrap();
    assert_eq!(settings.input.path, Some(dir.path().join("posts.jsonl")));
    assert_eq!(settings.induce.adapter.as_deref(), Some("none"));
    assert_eq!(settings.induce.by.model.as_deref(), Some("smollm2-135m"));
}

#[test]
fn the_limits_of_filters_are_those_that_the_crate_recommends() {
    let settings = Settings::of(&[]).unwrap();
    let mut filters = toml::Table::try_from(&settings.filters).unwrap();
    let mut recommended = toml::Table::try_from(Recommended::default()).unwrap();
    // These follow from the models.
    assert_eq!(filters.remove("languages"), None);
    recommended.remove("languages").unwrap();
    assert_eq!(filters, recommended);
}

#[test]
fn a_file_may_say_no_more_than_the_command_line() {
    for (text, says) in [
        ("[run]\ndraws = 0\n", "run.draws: it must be 1 or more"),
        (
            "[budget]\nmoney = -1.0\n",
            "budget.money: it must be 0 or more",
        ),
        (
            "[filters]\nmax_quoted_share = 2.0\n",
            "filters.max_quoted_share: it must be between 0 and 1",
        ),
        ("[judge]\nprice_read = inf\n", "price: it must be 0 or more"),
        (
            "[budget]\nmoney = 5.0\n",
            "budget.money: it limits nothing as long as all prices are 0",
        ),
        (
            "[model]\nfields = [\"effort=low\"]\n",
            "field: effort=low is not NAME=JSON",
        ),
    ] {
        let given: Given = toml::from_str(text).unwrap();
        let error = Settings::of(&[&given]).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
