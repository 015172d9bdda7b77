//! A run and its sessions.

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

use crate::{
    checks::expect,
    server::{CANARY, Server},
    worker::{ORDER, Order, Store},
};

/// A worker that prints nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The events that a harness receives.
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
    /// When it reaches a point for the n-th time.
    At(&'static str, u64),
    /// When the server has so many calls of it.
    Called(u64),
    /// In the middle of the write that makes a file so many bytes larger than the journal's log, or the largest file of
    /// a folder, is now.
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
    pub(crate) answers: Vec<String>,
    /// Outcomes that were reported as written.
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) output: String,
}

pub(crate) struct Trial {
    folder: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) order: Order,
    /// More variables of the worker.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
    /// What runs before the worker, in a shell that has its command as arguments.
    pub(crate) script: Option<String>,
    pub(crate) sessions: Vec<Session>,
    /// Calls in flight at the last look, with their tries.
    pub(crate) intents: BTreeSet<(String, u64)>,
    pub(crate) in_flight: u64,
}

impl Trial {
    pub(crate) fn new(store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let order = Order {
            folder: folder.path().join("run"),
            store,
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

    /// One session of a worker, which goes on with the run.
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
                let most = self.largest() + more;
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

    fn largest(&self) -> u64 {
        let bytes = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
        match self.order.store {
            Store::Journal => bytes(self.order.folder.join("run.sqlite-wal")),
            Store::Folder => {
                let entries = fs::read_dir(&self.order.folder).unwrap();
                let all = entries.map(|entry| bytes(entry.unwrap().path()));
                all.max().unwrap_or(0)
            }
        }
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

    /// Checks that the key is in no output and in no file.
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
        let folder = match self.order.store {
            Store::Journal => self.order.folder.join("out"),
            Store::Folder => self.order.folder.clone(),
        };
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap())
            // Without what an export that was killed leaves.
            .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != ".lock")
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect()
    }
}

impl Session {
    fn hear(&mut self, line: &str) {
        self.output.push_str(line);
        self.output.push('\n');
        match line.split_once(' ') {
            Some(("answer", call)) => self.answers.push(call.to_owned()),
            Some(("done", number)) => self.done = self.done.max(number.parse().unwrap()),
            Some(("failed", number)) => self.failed = number.parse().unwrap(),
            _ => {}
        }
    }
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
