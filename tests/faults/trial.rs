//! A run in a folder, its sessions, and what must hold after each of them and at its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    server::{CANARY, Server},
    worker::{CONCURRENCY, COST, ORDER, Order},
};

/// A worker that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a harness hears.
pub(crate) enum Event {
    /// Of a worker.
    Line(String),
    /// A worker closed its output.
    Closed,
    /// A call reached the server.
    Called,
}

/// When a worker is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kill {
    /// When it comes to a point the so-and-so-manieth time.
    At(&'static str, u64),
    /// When the server has so many calls of it.
    Called(u64),
    /// In the midst of the write that makes a file so many bytes larger than the journal's log is now.
    Write(u64),
    /// After so long.
    After(Duration),
}

/// Which check found it, and what.
pub(crate) type Finding = (&'static str, String);

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) killed: bool,
    pub(crate) succeeded: bool,
    /// Calls whose answers were given out.
    answers: Vec<String>,
    /// Outcomes of which it was told that they are written.
    done: u64,
    pub(crate) failed: u64,
    pub(crate) output: String,
}

/// An outcome: place, text, draw, kind and line.
type Row = (u64, String, u32, String, String);

/// What a run is without faults.
pub(crate) struct Reference {
    rows: Vec<Row>,
    files: BTreeMap<String, Vec<u8>>,
    calls: u64,
}

/// The same for every test; another one without the filter that remembers pairs.
pub(crate) fn reference(plain: bool) -> &'static Reference {
    static REFERENCES: [OnceLock<Reference>; 2] = [OnceLock::new(), OnceLock::new()];
    REFERENCES[usize::from(plain)].get_or_init(|| {
        let mut trial = Trial::new();
        trial.order.plain = plain;
        let session = trial.session(None);
        assert!(session.succeeded && session.failed == 0, "{session:?}");
        let reference = Reference {
            rows: trial.rows(),
            files: trial.files(),
            calls: trial.number("SELECT count(*) FROM calls"),
        };
        let kinds: BTreeSet<&str> = reference.rows.iter().map(|row| row.3.as_str()).collect();
        assert_eq!(kinds.len(), 2, "kept and dropped: {kinds:?}");
        reference
    })
}

pub(crate) struct Trial {
    folder: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) order: Order,
    /// More variables of the worker.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    /// What runs before the worker, in a shell that has its command as arguments.
    pub(crate) script: Option<String>,
    sessions: Vec<Session>,
    /// Calls in flight at the last look, with their tries.
    intents: BTreeSet<(String, u64)>,
    in_flight: u64,
}

impl Trial {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let order = Order {
            folder: folder.path().join("run"),
            ..Order::default()
        };
        fs::create_dir(&order.folder).unwrap();
        Self {
            folder,
            server: Server::start(),
            order,
            variables: Vec::new(),
            script: None,
            sessions: Vec::new(),
            intents: BTreeSet::new(),
            in_flight: 0,
        }
    }

    /// A folder beside that of the run.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.order.folder.join("run.sqlite")
    }

    /// One life of a worker, which goes on with the run.
    pub(crate) fn session(&mut self, kill: Option<Kill>) -> &Session {
        let number = self.sessions.len() as u64;
        self.order.url = self.server.url(number);
        let (sender, events) = mpsc::channel();
        let mut script = self.script.clone();
        self.order.point = None;
        let mut patience = PATIENCE;
        match kill {
            Some(Kill::At(point, time)) => self.order.point = Some((point.to_owned(), time)),
            Some(Kill::Called(more)) => self.server.tell(Some((more, sender.clone()))),
            Some(Kill::Write(more)) => {
                let log = fs::metadata(self.order.folder.join("run.sqlite-wal"));
                let most = log.map_or(0, |log| log.len()) + more;
                // Beyond it a signal kills the process.
                script = Some(format!("ulimit -f {}; exec \"$@\"", blocks(most)));
            }
            Some(Kill::After(time)) => patience = time,
            None => {}
        }
        let mut child = self.start(script);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let listening = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(Event::Line(line));
            }
            let _ = sender.send(Event::Closed);
        });
        let mut stderr = child.stderr.take().unwrap();
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });

        let mut session = Session::default();
        loop {
            let stop = match events.recv_timeout(patience) {
                Ok(Event::Line(line)) => {
                    session.hear(&line);
                    line.starts_with("at ")
                }
                Ok(Event::Called) => true,
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if patience == PATIENCE => {
                    let _ = child.kill();
                    panic!("a worker hangs: {session:?}");
                }
                Err(RecvTimeoutError::Timeout) => true,
            };
            if stop {
                patience = PATIENCE;
                child.kill().unwrap();
            }
        }
        let status = child.wait().unwrap();
        self.server.tell(None);
        listening.join().unwrap();
        session.output.push_str(&complaints.join().unwrap());
        session.killed = status.signal().is_some();
        session.succeeded = status.success();
        self.sessions.push(session);
        self.sessions.last().unwrap()
    }

    fn start(&self, script: Option<String>) -> Child {
        let this = env::current_exe().unwrap();
        let mut command = match script {
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &script, "sh"]).arg(this);
                shell
            }
            None => Command::new(this),
        };
        command
            .args(["--exact", "worker::worker", "--ignored", "--nocapture"])
            .env(ORDER, serde_json::to_string(&self.order).unwrap())
            .env("NO_PROXY", "127.0.0.1")
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What must hold after a session.
    pub(crate) fn check(&mut self) -> Result<(), Finding> {
        let session = self.sessions.last().unwrap();
        if !session.killed && !session.succeeded {
            return Err(("worker", session.output.clone()));
        }
        self.check_journal()
    }

    /// What must hold of the journal at any time.
    pub(crate) fn check_journal(&mut self) -> Result<(), Finding> {
        let acknowledged = self.sessions.iter().map(|session| session.done).max();
        let acknowledged = acknowledged.unwrap_or(0);
        if !self.journal().exists() {
            return expect("acknowledged", acknowledged == 0, || {
                "no journal".to_owned()
            });
        }
        let sound: String = self
            .reader()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap_or_else(|error| error.to_string());
        expect("sound", sound == "ok", || sound.clone())?;

        let rows = self.rows();
        let count = rows.len() as u64;
        expect("acknowledged", acknowledged <= count, || {
            format!("{acknowledged} outcomes are acknowledged, {count} are there")
        })?;
        let known = &reference(self.order.plain).rows;
        expect("outcomes", known.starts_with(&rows), || {
            let differ = known.iter().zip(&rows).position(|(a, b)| a != b);
            format!("of {count} the one at {differ:?} is another")
        })?;
        for (of_calls, of_budget) in [("cost", "money"), ("tries", "requests")] {
            let calls = self.number(&format!("SELECT coalesce(sum({of_calls}), 0) FROM calls"));
            let budget = self.number(&format!("SELECT {of_budget} FROM budget"));
            expect("sums", calls == budget, || {
                format!("{of_calls}: {calls} in the calls, {budget} in the budget")
            })?;
        }
        let done = self.number("SELECT count(*) FROM calls WHERE state = 'done'");
        let cost = self.number("SELECT coalesce(sum(cost), 0) FROM calls");
        expect("sums", cost == done * COST, || {
            format!("{done} answers cost {cost}")
        })?;

        self.note_in_flight()
    }

    /// Counts the calls that were in flight when the last session ended.
    pub(crate) fn note_in_flight(&mut self) -> Result<(), Finding> {
        let intents = self.intents();
        let new = intents.difference(&self.intents).count();
        expect("in flight", new <= CONCURRENCY, || {
            format!("{new} calls were in flight")
        })?;
        self.in_flight += new as u64;
        self.intents = intents;
        Ok(())
    }

    /// What must hold at the end. Gives the number of calls that were paid for in vain.
    pub(crate) fn finish(mut self) -> Result<u64, Finding> {
        if !self.sessions.last().is_some_and(|last| last.succeeded) {
            self.session(None);
            self.check()?;
        }
        let reference = reference(self.order.plain);
        let in_vain = self.check_bill()?;
        expect("in flight", in_vain <= self.in_flight, || {
            format!("{in_vain} paid in vain, {} in flight", self.in_flight)
        })?;
        let rows = self.rows();
        expect("outcomes", rows == reference.rows, || {
            format!("{} of {}", rows.len(), reference.rows.len())
        })?;
        let files = self.files();
        for (name, bytes) in &reference.files {
            let same = files.get(name) == Some(bytes);
            expect("bytes", same, || name.clone())?;
        }
        expect("bytes", files.len() == reference.files.len(), || {
            format!("{} files", files.len())
        })?;
        self.order.changed = true;
        let session = self.session(None);
        let refused = session
            .output
            .contains("record 4 (\"post-3\") has another text");
        expect("another text", !session.succeeded && refused, || {
            format!("it is not refused\n{}", session.output)
        })?;
        self.check_canary()?;
        Ok(in_vain)
    }

    /// That no call was made again whose answer was given out, and how many were paid without one.
    fn check_bill(&self) -> Result<u64, Finding> {
        let bill = self.server.bill();
        let mut answered: BTreeSet<&str> = BTreeSet::new();
        let mut may_be: BTreeMap<&str, u64> = BTreeMap::new();
        for (number, session) in self.sessions.iter().enumerate() {
            let mine = bill.iter().filter(|(of, _)| *of == number as u64);
            let mut asked: BTreeSet<&str> = BTreeSet::new();
            for (_, call) in mine {
                expect("paid once", asked.insert(call), || {
                    format!("{call} twice in session {number}")
                })?;
                expect("paid once", !answered.contains(call.as_str()), || {
                    format!("{call} again in session {number}")
                })?;
            }
            answered.extend(session.answers.iter().map(String::as_str));
            let lost: Vec<&&str> = asked
                .iter()
                .filter(|call| !answered.contains(**call))
                .collect();
            let most = if session.succeeded { 0 } else { CONCURRENCY };
            expect("paid once", lost.len() <= most, || {
                format!("{} in flight in session {number}", lost.len())
            })?;
            for call in lost {
                *may_be.entry(call).or_insert(1) += 1;
            }
        }
        let mut paid: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, call) in &bill {
            *paid.entry(call).or_default() += 1;
        }
        for (call, times) in &paid {
            let most = may_be.get(call).copied().unwrap_or(1);
            expect("paid once", *times <= most, || {
                format!("{call} {times} times of {most}")
            })?;
        }
        let tries = self.number("SELECT sum(tries) FROM calls");
        let times = bill.len() as u64;
        expect("tries", tries >= times, || {
            format!("{tries} tries, {times} paid")
        })?;
        let calls = reference(self.order.plain).calls;
        expect("paid once", paid.len() as u64 == calls, || {
            format!("{} calls, and {calls} without faults", paid.len())
        })?;
        Ok(times - calls)
    }

    /// That the key is nowhere.
    pub(crate) fn check_canary(&self) -> Result<(), Finding> {
        let found = |bytes: &[u8]| {
            let mut windows = bytes.windows(CANARY.len());
            windows.any(|window| window == CANARY.as_bytes())
        };
        for session in &self.sessions {
            expect("canary", !found(session.output.as_bytes()), || {
                session.output.clone()
            })?;
        }
        let (mut folders, mut files) = (vec![self.folder.path().to_owned()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                files += 1;
                let found = found(&fs::read(&path).unwrap());
                expect("canary", !found, || path.display().to_string())?;
            }
        }
        assert!(files > 1);
        Ok(())
    }

    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.order.folder.join("out")).unwrap();
        entries
            .map(|entry| entry.unwrap())
            // What an export that was killed leaves.
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }

    fn reader(&self) -> Connection {
        Connection::open_with_flags(self.journal(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    pub(crate) fn number(&self, sql: &str) -> u64 {
        self.reader().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn rows(&self) -> Vec<Row> {
        let reader = self.reader();
        let sql = "SELECT place, source_id, draw, kind, line FROM outcomes ORDER BY place";
        let mut query = reader.prepare(sql).unwrap();
        let rows = query.query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn intents(&self) -> BTreeSet<(String, u64)> {
        let reader = self.reader();
        let sql = "SELECT hex(key), tries FROM calls WHERE state = 'intent'";
        let mut query = reader.prepare(sql).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }
}

impl Session {
    fn hear(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        match line.split_once(' ') {
            Some(("answer", call)) => self.answers.push(call.to_owned()),
            Some(("done", number)) => self.done = number.parse().unwrap(),
            Some(("failed", number)) => self.failed = number.parse().unwrap(),
            _ => {}
        }
    }
}

fn expect(check: &'static str, holds: bool, what: impl FnOnce() -> String) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err((check, what())) }
}

/// So many bytes in the unit of the shell's `ulimit -f`, which is 512 bytes in some and 1,024 in others.
pub(crate) fn blocks(bytes: u64) -> u64 {
    static UNIT: OnceLock<u64> = OnceLock::new();
    let unit = UNIT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap '' XFSZ; ulimit -f 4; head -c 9000 /dev/zero > probe";
        let _ = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        fs::metadata(folder.path().join("probe")).unwrap().len() / 4
    });
    bytes / unit
}

/// Numbers that look random (Steele et al., "Fast splittable pseudorandom number generators", 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up, below `most`.
    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// How many kills there are in all the tests.
pub(crate) fn kills() -> u64 {
    env::var("SAFER_INSTRUCT_KILLS").map_or(50, |number| number.parse().unwrap())
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
