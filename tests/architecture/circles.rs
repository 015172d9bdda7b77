//! No circle of imports between files.
//!
//! A module and those inside of it are one concept, so what they import from each other is no circle. What only tests
//! import does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{code, files, group_members, root};

/// The path of a module: none for the crate itself.
type Module = Vec<String>;

/// A path of a `use`, and the name that it brings.
struct Import {
    path: Vec<String>,
    name: String,
}

type Sources = BTreeMap<Module, Vec<Import>>;

/// The module of a file below `src`.
fn module(path: &str) -> Module {
    let path = path.strip_suffix(".rs").unwrap();
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" => Vec::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

/// The code of a file without its module of tests.
fn without_tests(code: &str) -> &str {
    let tests = code.match_indices("#[cfg(test)]\n").find(|(at, mark)| {
        let behind = code[at + mark.len()..].lines();
        let first = behind.skip_while(|line| line.starts_with("#["));
        first
            .take(1)
            .any(|line| line.starts_with("mod ") && line.ends_with('{'))
    });
    tests.map_or(code, |(at, _)| &code[..at])
}

fn imports(source: &str) -> Vec<Import> {
    let code = code(source);
    let mut found = Vec::new();
    let mut rest = without_tests(&code);
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].lines().last().unwrap_or_default().trim();
        rest = &rest[at + "use ".len()..];
        if before.is_empty() || before.starts_with("pub") {
            let (tree, behind) = rest.split_once(';').unwrap_or_default();
            found.extend(expanded(&tree.replace(" as ", "@")));
            rest = behind;
        }
    }
    found
}

/// The paths of `a::{b, c::d@e}`.
fn expanded(tree: &str) -> Vec<Import> {
    match tree.split_once('{') {
        Some((head, group)) => group_members(group)
            .iter()
            .filter(|member| !member.is_empty())
            .flat_map(|member| expanded(&format!("{head}{member}")))
            .collect(),
        None => {
            let path: String = tree.split_whitespace().collect();
            let (path, alias) = path.split_once('@').unwrap_or((&path, ""));
            let path: Vec<String> = path.split("::").map(str::to_owned).collect();
            let last = path.last().cloned().unwrap_or_default();
            let name = if alias.is_empty() {
                last
            } else {
                alias.to_owned()
            };
            vec![Import { path, name }]
        }
    }
}

/// The module that defines what a path names; none if it is of another crate.
fn definition(sources: &Sources, from: &Module, path: &[String]) -> Option<Module> {
    let mut module = from.clone();
    match path.first()?.as_str() {
        "crate" => module.clear(),
        "self" => {}
        "super" => {
            module.pop();
        }
        name => {
            let child = [from.as_slice(), &[name.to_owned()]].concat();
            sources.get(&child)?;
            module = child;
        }
    }
    let mut rest = &path[1..];
    while let Some(name) = rest.first() {
        let child = [module.as_slice(), std::slice::from_ref(name)].concat();
        if name == "super" {
            module.pop();
        } else if sources.contains_key(&child) {
            module = child;
        } else {
            break;
        }
        rest = &rest[1..];
    }
    // What a module imports from another is defined there.
    let passed_on = rest.first().and_then(|name| {
        let mut imports = sources.get(&module)?.iter();
        let import =
            imports.find(|import| import.name == *name && import.path.as_slice() != path)?;
        definition(sources, &module, &import.path)
    });
    Some(passed_on.unwrap_or(module))
}

/// Groups of modules that import each other, directly or by way of others.
fn circles(sources: &Sources) -> Vec<String> {
    let mut edges: BTreeMap<&Module, BTreeSet<Module>> = BTreeMap::new();
    for (from, imports) in sources {
        let to = imports
            .iter()
            .filter_map(|import| definition(sources, from, &import.path))
            .filter(|to| !to.starts_with(from) && !from.starts_with(to));
        edges.insert(from, to.collect());
    }
    let reached = |from: &Module| {
        let mut reached = BTreeSet::new();
        let mut left = vec![from];
        while let Some(next) = left.pop() {
            for to in edges.get(next).into_iter().flatten() {
                if reached.insert(to) {
                    left.push(to);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&Module, _> = sources.keys().map(|from| (from, reached(from))).collect();
    let groups: BTreeSet<Vec<String>> = sources
        .keys()
        .map(|one| {
            let others = reached[one]
                .iter()
                .filter(|other| reached.get(**other).is_some_and(|back| back.contains(one)));
            others.map(|other| other.join("::")).collect()
        })
        .filter(|group: &Vec<String>| group.len() > 1)
        .collect();
    groups.iter().map(|group| group.join(", ")).collect()
}

#[test]
fn no_files_import_each_other() {
    let folder = root().join("src");
    let sources: Sources = files(&folder, &[".rs"])
        .into_iter()
        .map(|path| {
            let below = path.strip_prefix(&folder).unwrap().to_str().unwrap();
            (module(below), imports(&fs::read_to_string(&path).unwrap()))
        })
        .collect();
    let found = circles(&sources);
    assert!(found.is_empty(), "circles of files:\n{}", found.join("\n"));
}

#[test]
fn a_circle_of_files_is_seen() {
    let sources = |files: &[(&str, &str)]| -> Sources {
        let files = files.iter();
        files
            .map(|(path, source)| (module(path), imports(source)))
            .collect()
    };
    let hub = "mod cache;\nmod fetch;\npub use fetch::{Fetcher, Done as Fetched};";
    let cache = "use super::{Fetched, other::{self, A}};\nfn f() {\n    use std::fmt;\n}";
    let fetch = "//! use crate::nothing;\nuse crate::{error::Error, hub::cache::Cache};\n";
    let all = [
        ("lib.rs", "pub mod hub;\npub use hub::Fetcher;"),
        ("hub/mod.rs", hub),
        ("hub/cache.rs", cache),
        ("hub/fetch.rs", fetch),
    ];
    assert_eq!(circles(&sources(&all)), ["hub::cache, hub::fetch"]);
    // Tests may import what they like.
    let tests = format!("#[cfg(test)]\n#[allow(dead_code)]\nmod tests {{\n{cache}\n}}");
    let apart = [all[0], all[1], ("hub/cache.rs", tests.as_str()), all[3]];
    assert!(circles(&sources(&apart)).is_empty());
}
