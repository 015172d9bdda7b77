//! A real llama.cpp in a process beside the test.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{LazyLock, Mutex},
};

use serde_json::Value;

/// A llama.cpp with one model. Its process ends with it.
pub(crate) struct Oracle {
    process: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl Oracle {
    /// llama.cpp with the model as it is.
    pub(crate) fn on_the_model() -> Self {
        Self::start(&super::model_path())
    }

    /// llama.cpp with a model of [`tiny_model`].
    pub(crate) fn on_tiny(name: &str) -> Self {
        Self::start(&tiny_model(name))
    }

    /// llama.cpp with a model, on one thread: several threads spin while they wait for each other, which takes ten
    /// times as long where the cores have other work. A test that wants two cores starts two of these.
    pub(crate) fn start(model: &Path) -> Self {
        let mut child = Command::new(&*PYTHON)
            .arg(script("llama_oracle.py"))
            .args([model.as_os_str(), "1".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the oracle starts");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        Self {
            process: Mutex::new((child, stdin, BufReader::new(stdout))),
        }
    }

    /// Asks one question.
    pub(crate) fn ask(&self, request: &Value) -> Value {
        let mut process = self.process.lock().expect("no test has panicked here");
        let (_, stdin, stdout) = &mut *process;
        writeln!(stdin, "{request}").expect("the oracle listens");
        stdin.flush().expect("the oracle listens");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the oracle answers");
        serde_json::from_str(&line)
            .expect("the oracle answers in JSON; run its script by hand to see why not")
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        if let Ok((child, ..)) = self.process.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A Python with llama.cpp, made once for each target folder.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = scratch("oracle");
    let python = folder.join("bin/python");
    let ready = folder.join("ready");
    let wanted =
        fs::read_to_string(script("requirements.txt")).expect("the requirements are there");
    if fs::read_to_string(&ready).ok().as_deref() != Some(&wanted) {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder));
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(script("requirements.txt")));
        fs::write(&ready, wanted).expect("the target folder can be written");
    }
    python
});

/// A copy of the model whose tensors are F32.
pub(crate) static F32_COPY: LazyLock<PathBuf> = LazyLock::new(|| {
    let model = super::model_path();
    let name = model.file_stem().expect("a model is a file");
    let copy = scratch(&format!("{}-f32.gguf", name.display()));
    if !copy.exists() {
        let part = copy.with_extension("part");
        python(
            "convert.py",
            [model.as_os_str(), part.as_os_str(), "F32".as_ref()],
        );
        fs::rename(part, &copy).expect("the target folder can be written");
    }
    copy
});

/// Runs a script of the folder `tests/oracle` to its end.
pub(crate) fn python<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) {
    run(Command::new(&*PYTHON).arg(script(name)).args(arguments));
}

/// The server of llama.cpp on a model file, which ends with this.
pub(crate) struct Served {
    child: Child,
    /// Where its protocol begins.
    pub(crate) base_url: String,
}

impl Served {
    pub(crate) fn start(model: &Path, slots: usize) -> Self {
        let mut child = Command::new(&*PYTHON)
            .arg(script("server.py"))
            .arg(model)
            .arg(slots.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let address = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("http://"));
        let address =
            address.expect("the server says its address; run its script by hand to see why not");
        Self {
            child,
            base_url: format!("{address}/v1"),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small model of random weights that `tiny_models.py` writes.
pub(crate) fn tiny_model(name: &str) -> PathBuf {
    TINY.join(format!("{name}.gguf"))
}

static TINY: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = scratch("tiny");
    let ready = folder.join("ready");
    let wanted = fs::read_to_string(script("tiny_models.py")).expect("the script is there");
    if fs::read_to_string(&ready).ok().as_deref() != Some(&wanted) {
        run(Command::new(&*PYTHON).arg(script("tiny_models.py")).args([
            &folder,
            &super::model_path(),
            &super::spm_path(),
        ]));
        fs::write(&ready, wanted).expect("the target folder can be written");
    }
    folder
});

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/oracle")
        .join(name)
}

fn run(command: &mut Command) {
    let status = command.status().expect("python3 with venv is installed");
    assert!(status.success(), "{command:?} fails");
}
