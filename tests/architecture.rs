//! The structure of the crate: who may import whom, how long a file may be, what the core may depend on, what may share
//! a name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "architecture/circles.rs"]
mod circles;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const MAX_LINES: usize = 600;

/// Each module, and the modules that it may name. Its own is always allowed.
///
/// Backends implement models and know no stage; a pipeline knows stages and neither a prompt nor a backend.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("text", &[]),
    ("files", &["error"]),
    ("measure", &[]),
    ("learn", &["text"]),
    ("record", &["error"]),
    ("outcome", &["error", "record"]),
    ("stage", &["error", "record", "outcome"]),
    // `stage` only for the macros that forward a trait.
    ("model", &["error", "record", "stage"]),
    ("profiles", &["error", "model", "text"]),
    ("prompt", &["error", "files", "record", "model", "text"]),
    (
        "decorate",
        &["error", "record", "outcome", "model", "stage"],
    ),
    ("pipeline", &["error", "record", "outcome", "stage"]),
    (
        "judges",
        &["error", "record", "model", "stage", "prompt", "text"],
    ),
    (
        "guards",
        &["error", "files", "record", "model", "stage", "prompt"],
    ),
    (
        "filters",
        &[
            "error", "record", "outcome", "model", "stage", "prompt", "text", "profiles",
            "pipeline",
        ],
    ),
    ("dataset", &["error", "files", "record", "outcome", "text"]),
    (
        "audit",
        &[
            "error", "record", "text", "filters", "dataset", "measure", "learn",
        ],
    ),
    // `filters` and `dataset` only for the pairs that a model writes to be tuned on.
    (
        "stages",
        &[
            "error", "record", "model", "stage", "prompt", "text", "filters", "dataset",
        ],
    ),
    (
        "run",
        &[
            "error", "files", "record", "outcome", "model", "stage", "decorate", "pipeline",
            "dataset",
        ],
    ),
    ("hub", &["error", "files"]),
    (
        "backends",
        &[
            "error", "files", "record", "model", "decorate", "hub", "text",
        ],
    ),
    (
        "train",
        &[
            "error", "files", "record", "model", "prompt", "dataset", "backends", "text",
            "filters", "guards", "measure", "learn",
        ],
    ),
];

/// May name everything: `testkit` tests everything, and the program is a crate of its own, whose `crate` is itself.
const FREE: &[&str] = &["lib", "testkit", "bin"];

/// Dependencies that must not come in without a feature. A name that ends in `-` stands for all names that begin so.
const NEVER_IN_CORE: &[&str] = &[
    "tokio",
    "reqwest",
    "hyper",
    "candle-",
    "tokenizers",
    "ureq",
    "rusqlite",
];

/// Names that several public items have all the same.
const SHARED_NAMES: &[&str] = &[
    // Laws of the testkit, which are always named with the kind of stage that they are for: `judges::determinism`.
    "alone_is_beside_others",
    "determinism",
    "logprobs",
    "total",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, whose names end so; build outputs aside.
fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" {
            found.extend(files(&path, ends));
        } else if ends.iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The code of a file: without comments and doc comments, in which links may point anywhere.
fn code(source: &str) -> String {
    let lines = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules named by `crate::module` or, in a grouped import, by `use crate::{module…}`.
///
/// An item that the crate root re-exports (`crate::Error`) counts as a module of that name, and thus as an error.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate` of a macro and `some_crate::…` are others.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.extend(head(rest)),
            Some(group) => {
                named.extend(group_members(group).iter().flat_map(|member| head(member)));
            }
        }
    }
    named
}

fn head(path: &str) -> Option<String> {
    let name: String = path
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The members of `a::b, c::{d, e}}`, read up to the brace that closes the group.
fn group_members(group: &str) -> Vec<String> {
    let (mut members, mut depth) = (vec![String::new()], 0);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(String::new()),
            _ if c.is_whitespace() => {}
            _ => members.last_mut().unwrap().push(c),
        }
    }
    members
}

/// What the file of a module names and may not.
fn forbidden(module: &str, source: &str) -> Vec<String> {
    if FREE.contains(&module) {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{module} is in no layer: add it to LAYERS")];
    };
    named_modules(&code(source))
        .into_iter()
        .filter(|named| named != module && !allowed.contains(&named.as_str()))
        .map(|named| format!("{module} must not name crate::{named}"))
        .collect()
}

#[test]
fn imports_go_down_only() {
    let sources = root().join("src");
    let mut wrong = Vec::new();
    for path in files(&sources, &[".rs"]) {
        let below = path.strip_prefix(&sources).unwrap();
        let module = below
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let source = fs::read_to_string(&path).unwrap();
        for reason in forbidden(module.trim_end_matches(".rs"), &source) {
            wrong.push(format!("{}: {reason}", shown(&path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_goes_up_is_seen() {
    let grouped = "use crate::{\n    error::Error,\n    backends::{self, candle},\n};";
    assert_eq!(
        forbidden("pipeline", grouped),
        ["pipeline must not name crate::backends"]
    );
    let inline = "fn f() -> crate::prompt::Template { todo!() }";
    assert_eq!(
        forbidden("pipeline", inline),
        ["pipeline must not name crate::prompt"]
    );
    let through_root = "use crate::Error;";
    assert_eq!(
        forbidden("judges", through_root),
        ["judges must not name crate::Error"]
    );
    assert_eq!(
        forbidden("filters", "//! [`judge`](crate::judges)\n$crate::x::y!()").len(),
        1
    );
    assert_eq!(forbidden("novel", "").len(), 1);
}

#[test]
fn the_layers_have_no_cycle() {
    let mut below = BTreeSet::new();
    for (module, allowed) in LAYERS {
        let later = allowed.iter().find(|name| !below.contains(*name));
        assert_eq!(later, None, "{module} names a module that comes after it");
        below.insert(*module);
    }
}

#[test]
fn files_are_short() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz"] {
        for path in files(&root().join(folder), &[".rs"]) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > MAX_LINES {
                long.push(format!("{}: {lines} lines", shown(&path)));
            }
        }
    }
    assert!(
        long.is_empty(),
        "over {MAX_LINES} lines:\n{}",
        long.join("\n")
    );
}

#[test]
fn the_core_depends_on_no_runtime() {
    // Not `env!`, so that the test can be built without cargo.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--no-default-features",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.contains("futures"), "the tree was read\n{tree}");
    let unwanted: Vec<_> = names.iter().filter(|name| is_unwanted(name)).collect();
    assert!(unwanted.is_empty(), "{unwanted:?} in the core");
}

/// The names of the public items that a file defines or renames.
///
/// What is `pub` at the beginning of a line can be reached from outside: the lint `unreachable_pub` says so.
fn public_names(source: &str) -> Vec<&str> {
    const KINDS: [&str; 8] = [
        "struct", "enum", "union", "trait", "type", "fn", "const", "static",
    ];
    const MODIFIERS: [&str; 5] = ["", "fn", "unsafe", "extern", "C"];
    let mut names = Vec::new();
    let mut is_exported = false;
    for line in source.lines() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if line.starts_with("pub use ") {
            let _ = words.find(|word| *word == "as");
            names.extend(words.next());
        } else if line.starts_with("pub ") {
            let _ = words.find(|word| KINDS.contains(word));
            names.extend(words.find(|word| !MODIFIERS.contains(word)));
        } else if line.starts_with("macro_rules! ") && is_exported {
            names.extend(words.nth(2));
        }
        is_exported = line == "#[macro_export]";
    }
    names
}

/// The names that stand for more than one public thing, and where.
fn ambiguous(sources: &[(String, String)]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, source) in sources {
        for name in public_names(source) {
            places.entry(name).or_default().push(path);
        }
    }
    let several = places.into_iter().filter(|(_, paths)| paths.len() > 1);
    several
        .map(|(name, paths)| format!("{name}: {}", paths.join(", ")))
        .collect()
}

#[test]
fn a_public_name_means_one_thing() {
    let programs = root().join("src/bin");
    let sources: Vec<(String, String)> = files(&root().join("src"), &[".rs"])
        .into_iter()
        .filter(|path| !path.starts_with(&programs))
        .map(|path| (shown(&path), fs::read_to_string(&path).unwrap()))
        .collect();
    let wrong: Vec<String> = ambiguous(&sources)
        .into_iter()
        .filter(|found| {
            !SHARED_NAMES
                .iter()
                .any(|name| found.starts_with(&format!("{name}: ")))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "two things of one name:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_name_of_two_things_is_seen() {
    let source = |path: &str, source: &str| (path.to_owned(), source.to_owned());
    let sources = [
        source(
            "a.rs",
            "pub struct Event {\n    pub name: String,\n}\npub const fn stop() {}\npub(crate) struct Cache;",
        ),
        source(
            "b.rs",
            "pub use wire::Message as Event;\npub async fn stop() {}\npub struct Cache<T>(T);",
        ),
        source(
            "c.rs",
            "#[macro_export]\nmacro_rules! stop {}\nmacro_rules! LIMIT {}\npub const LIMIT: usize = 1;\npub mod event;\npub use a::Event;",
        ),
    ];
    assert_eq!(
        ambiguous(&sources),
        ["Event: a.rs, b.rs", "stop: a.rs, b.rs, c.rs"]
    );
}

fn is_unwanted(name: &str) -> bool {
    NEVER_IN_CORE.iter().any(|unwanted| {
        name == *unwanted || (unwanted.ends_with('-') && name.starts_with(unwanted))
    })
}

#[test]
fn an_unwanted_dependency_is_seen() {
    assert!(is_unwanted("tokio") && is_unwanted("candle-core"));
    assert!(!is_unwanted("tokio-free") && !is_unwanted("futures-core"));
}

/// A path of one machine works nowhere else, and must not be in the repository.
#[test]
fn no_file_names_a_path_of_one_machine() {
    // Written in two halves, so that this file does not name them itself.
    let roots = [
        ("/wor", "k/"),
        ("/roo", "t/"),
        ("/hom", "e/"),
        ("/Use", "rs/"),
        ("/tmp", "/"),
    ]
    .map(|(a, b)| format!("{a}{b}"));
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz", "docs"] {
        for path in files(
            &root().join(folder),
            &[".rs", ".md", ".toml", ".py", ".json", ".sh"],
        ) {
            let text = fs::read_to_string(&path).unwrap();
            for (line, found) in machine_paths(&text, &roots) {
                wrong.push(format!("{}:{line}: {found}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let caught = machine_paths(&format!("fine\nopen(\"{}x\")", roots[0]), &roots);
    assert_eq!(caught, [(2, roots[0].as_str())]);
}

/// Lines, counted from 1, in which an absolute path below one of the roots begins.
fn machine_paths<'r>(text: &str, roots: &'r [String]) -> Vec<(usize, &'r str)> {
    let mut found = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        for root in roots {
            let starts = |at: usize| {
                !content[..at].ends_with(|c: char| c.is_alphanumeric() || "._-})".contains(c))
            };
            if content
                .match_indices(root.as_str())
                .any(|(at, _)| starts(at))
            {
                found.push((line, root.as_str()));
            }
        }
    }
    found
}
