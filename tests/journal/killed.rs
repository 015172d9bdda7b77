//! A process that is killed while it runs.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};

use futures::executor::block_on;
use safer_instruct::run::{Journal, Runner};

use crate::support::{
    Counted, files, manifest, never, no_time, number, pipeline, price, reader, stream_of, texts,
    undisturbed,
};

/// Names the folder of the run of a worker.
const FOLDER: &str = "SAFER_INSTRUCT_TEST_FOLDER";
const KILLS: u32 = 20;
const TEXTS: usize = 60;

/// Goes on with the run, or begins it. Each call is noted in a file of its own before it is answered.
fn go_on(folder: &Path, told: impl Fn() + Send + Sync + Clone + 'static) {
    let path = folder.join("run.sqlite");
    let mut journal = if path.exists() {
        Journal::open(path, manifest()).unwrap()
    } else {
        Journal::create(path, manifest()).unwrap()
    };
    let calls = fs::File::options()
        .append(true)
        .create(true)
        .open(folder.join("calls"))
        .unwrap();
    let (calls, tell) = (Mutex::new(calls), told.clone());
    let model = Counted::telling(move |what, key| {
        if what == "begin" {
            writeln!(calls.lock().unwrap(), "{key}").unwrap();
        }
        tell();
    });
    let model = journal.record(model, "counted").with_price(price());
    let pipeline = pipeline(&model);
    let runner = Runner::new(&mut journal, &pipeline, no_time, never).with_observer(|_| told());
    block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
}

/// The process that is killed; it says a line for every event.
#[test]
#[ignore = "it is started by the test below"]
fn worker() {
    if let Some(folder) = env::var_os(FOLDER) {
        go_on(folder.as_ref(), || {
            let _ = writeln!(std::io::stderr(), "event");
        });
    }
}

/// The keys of calls whose end nobody knows.
fn in_flight(path: &Path) -> Vec<String> {
    let reader = reader(path);
    let mut query = reader
        .prepare("SELECT lower(hex(key)) FROM calls WHERE state = 'intent'")
        .unwrap();
    let keys = query.query_map([], |row| row.get(0)).unwrap();
    keys.map(Result::unwrap).collect()
}

#[test]
fn a_killed_run_ends_in_the_same_bytes_and_pays_twice_only_for_what_was_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sqlite");
    let mut may_be_paid: BTreeMap<String, u32> = BTreeMap::new();
    let (mut kills, mut done) = (0, Vec::new());
    for round in 0..KILLS {
        let after = 1 + (round * 7 + 3) % 41;
        let mut worker = Command::new(env::current_exe().unwrap())
            .args(["--exact", "killed::worker", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(worker.stderr.take().unwrap()).lines();
        let heard = lines
            .take(after as usize)
            .filter(|line| line.as_ref().unwrap() == "event");
        kills += u32::from(heard.count() == after as usize);
        worker.kill().unwrap();
        worker.wait().unwrap();
        for key in in_flight(&path) {
            *may_be_paid.entry(key).or_default() += 1;
        }
        done.push(number(&path, "SELECT count(*) FROM outcomes"));
    }
    assert_eq!(kills, KILLS, "a run came to its end too soon: {done:?}");
    assert!(
        done.is_sorted() && done[0] < done[KILLS as usize - 1],
        "{done:?}"
    );
    go_on(folder.path(), || {});

    let mut paid: BTreeMap<String, u32> = BTreeMap::new();
    for key in fs::read_to_string(folder.path().join("calls"))
        .unwrap()
        .lines()
    {
        *paid.entry(key.to_owned()).or_default() += 1;
    }
    for (key, times) in &paid {
        let may_be = 1 + may_be_paid.get(key).copied().unwrap_or(0);
        assert!(*times <= may_be, "{key} was paid {times} times of {may_be}");
    }
    // What was asked for is counted, whatever became of it.
    let tries = number(&path, "SELECT sum(tries) FROM calls");
    assert!(tries >= u64::from(paid.values().sum::<u32>()));
    assert_eq!(tries, number(&path, "SELECT requests FROM budget"));
    assert_eq!(
        number(&path, "SELECT sum(cost) FROM calls"),
        number(&path, "SELECT money FROM budget")
    );

    let out = folder.path().join("out");
    safer_instruct::run::export(&path, &out).unwrap();
    let whole = undisturbed(TEXTS);
    for (name, text) in files(&out) {
        assert!(text == whole[&name], "{name}");
    }
}
