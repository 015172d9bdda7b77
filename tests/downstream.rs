//! A crate that sees only what is public builds against this one and passes the kit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{path::Path, process::Command};

#[test]
fn a_stranger_passes_the_kit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("downstream");
    // A copy beside this crate's own lock file: the same versions, nothing to fetch, nothing written to the sources.
    let copy = scratch.join("crate");
    std::fs::create_dir_all(copy.join("src")).unwrap();
    let manifest = std::fs::read_to_string(root.join("tests/downstream/Cargo.toml")).unwrap();
    let path = format!("path = {:?}", root.to_str().unwrap());
    let pointed = manifest.replace("path = \"../..\"", &path);
    assert_ne!(
        manifest, pointed,
        "the manifest names this crate by its path"
    );
    std::fs::write(copy.join("Cargo.toml"), pointed).unwrap();
    for file in ["lib.rs", "service.rs"] {
        let source = root.join("tests/downstream/src").join(file);
        std::fs::copy(source, copy.join("src").join(file)).unwrap();
    }
    std::fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock")).unwrap();

    // A target folder of its own: the outer cargo may hold the lock of the shared one.
    let output = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--lib"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    for test in [
        "calmer::takes_no_orders",
        "has_letters::total",
        "no_links::determinism",
        "parrot::markers_are_text",
        "pipeline::determinism",
        "goes_on_after_a_restart",
    ] {
        assert!(
            out.contains(&format!("tests::{test} ... ok")),
            "{test} did not run\n{out}"
        );
    }
}
