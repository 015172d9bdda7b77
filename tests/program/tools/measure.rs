//! `measure`: the table of the forms of induction.

use std::fs;

use super::{finish, tool};

/// The columns of the row of this name.
fn row<'a>(printed: &'a str, name: &str) -> Vec<&'a str> {
    let begins = format!("| {name} |");
    let line = printed.lines().find(|line| line.starts_with(&begins));
    line.unwrap_or_else(|| panic!("no row {name}: {printed}"))
        .split('|')
        .map(str::trim)
        .collect()
}

#[test]
fn forms_stand_beside_baselines_and_the_pairs_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let pairs: Vec<String> = (1..=5)
        .map(|n| {
            format!(
                "{{\"instruction\":\"How many wheels have {n} bicycles?\",\"response\":\"A bicycle has two wheels. So {n} bicycles have {} wheels.\"}}\n",
                2 * n
            )
        })
        .collect();
    fs::write(folder.path().join("pairs.jsonl"), pairs.concat()).unwrap();
    let measure = |arguments: &[&str]| {
        let mut command = tool("measure", folder.path());
        command.args(["--pairs", "pairs.jsonl"]);
        command.args(["--max-tokens", "16", "--candidates", "2"]);
        command.args(arguments);
        finish(command)
    };
    let (code, printed) = measure(&["--count", "4", "--save", "saved.jsonl", "--show", "1"]);
    assert_eq!(code, 0, "{printed}");
    let truth = row(&printed, "the true instruction");
    // The same text, always nearest to itself, a question of six words.
    assert_eq!(truth[2..4], ["1.000 (0.000)", "1.000"], "{printed}");
    assert_eq!(truth[5..8], ["1.000", "0.000", "6.0"], "{printed}");
    let first = row(&printed, "the response's first sentence");
    assert_eq!(first[4..8], ["1.000", "0.000", "1.000", "5.0"], "{printed}");
    assert_eq!(row(&printed, "the whole response")[4], "1.000", "{printed}");
    for name in [
        "another instruction, at random",
        "reversed template",
        "chat form with examples",
        "best of k, reversed template",
    ] {
        assert_eq!(row(&printed, name).len(), 11, "{printed}");
    }
    assert_eq!(row(&printed, "reversed template")[9], "0", "none failed");
    assert_eq!(printed.matches("\ntrue: ").count(), 1, "{printed}");

    let saved = fs::read_to_string(folder.path().join("saved.jsonl")).unwrap();
    assert_eq!(saved.lines().count(), 4);
    assert!(
        saved
            .lines()
            .all(|line| pairs.contains(&format!("{line}\n")))
    );
    // A file that is there is never replaced.
    let (code, printed) = measure(&["--count", "4", "--save", "saved.jsonl"]);
    assert_eq!(code, 1);
    assert!(printed.contains("saved.jsonl"), "{printed}");
    let (code, printed) = measure(&["--count", "0"]);
    assert_eq!(code, 1);
    assert!(
        printed.contains("there are no pairs to measure on"),
        "{printed}"
    );
}
