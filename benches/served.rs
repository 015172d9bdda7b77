//! How near a run against a served model comes to the rate of the server, with the journal on.
//!
//! ```text
//! cargo bench --features reqwest,run --bench served -- [seconds=60] [concurrency=256] [latency_ms=50] [journal=on|off]
//! cargo bench --features reqwest,run --bench served -- serve=PORT latency_ms=50
//! ```
//!
//! The server is a process of its own on the same machine, answers every request after the same time, and costs little.
//! The ideal is concurrency / latency. No timer is exact, so the server measures how long its answers took, which gives
//! a second ideal. Before the run plain sockets ask the same server, with nothing else to do: no client can be faster
//! on this machine. `serve` leaves only the server, for peers (`benches/peers/served_peers.py`); it says the same after
//! every line feed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, channel::oneshot, executor::block_on, stream};
use safer_instruct::{
    Instruction, Judgement, Pipeline, SourceText,
    backends::openai::{Client, OpenAiModel, Server},
    induce_fn, judge_fn,
    run::{Journal, Runner},
    stages::ExpertResponse,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn main() {
    let options: HashMap<String, String> = env::args()
        .filter_map(|word| {
            word.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect();
    let number = |name: &str, default: u64| {
        options
            .get(name)
            .map_or(default, |value| value.parse().unwrap())
    };
    let latency = Duration::from_millis(number("latency_ms", 50));
    if options.contains_key("serve") {
        let port = u16::try_from(number("serve", 0)).unwrap();
        return serve(port, latency);
    }
    let mut server = Command::new(env::current_exe().unwrap())
        .args([
            "serve=0".to_owned(),
            format!("latency_ms={}", latency.as_millis()),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut address).unwrap();
    let concurrency = usize::try_from(number("concurrency", 256)).unwrap();
    let time = Duration::from_secs(number("seconds", 60));
    let plain = plain(address.trim(), concurrency);
    let rate = run(
        address.trim(),
        concurrency,
        time,
        options.get("journal").is_none_or(|on| on == "on"),
    );
    server.stdin.take().unwrap().write_all(b"\n").unwrap();
    let mut took = String::new();
    stdout.read_line(&mut took).unwrap();
    let took = Duration::from_micros(took.trim().parse().unwrap());
    for (whose, latency) in [("asked for", latency), ("in truth", took)] {
        let ideal = concurrency as f64 / latency.as_secs_f64();
        println!(
            "{:.1} % of the ideal {ideal:.0}/s, by the {:.2} ms that were {whose}",
            100.0 * rate / ideal,
            1e3 * latency.as_secs_f64()
        );
    }
    println!(
        "{:.1} % of the {plain:.0}/s of plain sockets",
        100.0 * rate / plain
    );
    server.kill().unwrap();
    server.wait().unwrap();
}

/// The requests a second of plain sockets, for 10 seconds.
fn plain(base: &str, concurrency: usize) -> f64 {
    let address = base.trim_start_matches("http://").trim_end_matches("/v1");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    let ask = || async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.set_nodelay(true).unwrap();
        let mut answer = [0; 4096];
        while begun.elapsed() < Duration::from_secs(10) {
            connection.write_all(request.as_bytes()).await.unwrap();
            let read = connection.read(&mut answer).await.unwrap();
            assert!(read > 0, "the server has closed the connection");
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(futures::future::join_all((0..concurrency).map(|_| ask())));
    done.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

/// One request a text; gives the requests a second.
fn run(base: &str, concurrency: usize, time: Duration, journaled: bool) -> f64 {
    // The limit is on requests; texts that wait for the journal are beside it.
    let client = Client::builder()
        .with_max_in_flight(concurrency)
        .build()
        .unwrap();
    let model = OpenAiModel::builder(base, "m")
        .with_server(Server::Other)
        .with_client(client.clone())
        .build()
        .unwrap();
    let texts_at_once = concurrency + concurrency / 2;
    let folder = tempfile::tempdir().unwrap();
    let mut journal =
        Journal::create(folder.path().join("run.sqlite"), serde_json::Value::Null).unwrap();
    let induce = induce_fn(|source: SourceText| async move {
        Ok(Instruction::new(format!("What of {}?", source.id())))
    });
    let judge = judge_fn(|_, first: safer_instruct::Response, _| async move {
        Ok(if first.text().starts_with("Keep") {
            Judgement::first()
        } else {
            Judgement::second()
        })
    });
    let texts = (0..).map(|n: u64| {
        Ok(SourceText::new(
            n.to_string(),
            format!("You will never learn it, said number {n}."),
        ))
    });
    let (stop, stopped) = oneshot::channel();
    let timer = client.clone();
    std::thread::spawn(move || {
        block_on(safer_instruct::Sleep::sleep(&timer, time));
        let _ = stop.send(());
    });
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let done = if journaled {
        let respond = ExpertResponse::new(journal.record(model, "m"));
        let pipeline = Pipeline::new(induce, respond, judge).with_concurrency(texts_at_once);
        let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), client)
            .with_drain(Duration::ZERO)
            .with_stop(stopped.map(|_| ()));
        block_on(runner.run(stream::iter(texts)))
            .unwrap()
            .progress
            .done
    } else {
        let pipeline = Pipeline::new(induce, ExpertResponse::new(model), judge)
            .with_concurrency(texts_at_once);
        let done = AtomicU64::new(0);
        let texts = stream::iter(texts.map(Result::<_, safer_instruct::Error>::unwrap));
        let outcomes = pipeline.run(texts).take_until(stopped);
        block_on(outcomes.for_each(|_| {
            done.fetch_add(1, Ordering::Relaxed);
            std::future::ready(())
        }));
        done.into_inner()
    };
    let seconds = begun.elapsed().as_secs_f64();
    let rate = done as f64 / seconds;
    println!(
        "{done} requests in {seconds:.1} s: {rate:.0}/s; {:.0} us of CPU a request, {} MiB at most",
        1e6 * (cpu_seconds() - cpu) / done as f64,
        peak_mib()
    );
    rate
}

/// User and system time of this process (`proc(5)`, fields 14 and 15), which has no ended children.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

const BODY: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Keep at it. The first weeks are the hardest, and then it gets easier."},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":16,"total_tokens":56}}"#;

/// How many answers were given, and how many microseconds they took together.
static GIVEN: (AtomicU64, AtomicU64) = (AtomicU64::new(0), AtomicU64::new(0));

fn serve(port: u16, latency: Duration) {
    std::thread::spawn(|| {
        for _ in std::io::stdin().lines() {
            let (count, micros) = (&GIVEN.0, &GIVEN.1);
            let mean = micros.load(Ordering::Relaxed) / count.load(Ordering::Relaxed).max(1);
            println!("{mean}");
        }
    });
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("http://{}/v1", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    for connection in listener.incoming() {
        let connection = connection.unwrap();
        std::thread::spawn(move || answer(connection, latency));
    }
}

/// Answers the requests of one connection, one after the other. It sleeps on a thread of its own, because timers of
/// async runtimes have whole milliseconds.
fn answer(mut connection: std::net::TcpStream, latency: Duration) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    let mut more = |connection: &mut std::net::TcpStream, read: &mut Vec<u8>| {
        let bytes = connection
            .read(&mut piece)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        read.extend_from_slice(piece.get(..bytes)?);
        Some(())
    };
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut connection, &mut read)?;
        };
        let text = String::from_utf8_lossy(read.get(..head)?).to_lowercase();
        let length = text.lines().find_map(|line| {
            line.strip_prefix("content-length:")?
                .trim()
                .parse::<usize>()
                .ok()
        });
        let whole = head + length.unwrap_or(0);
        while read.len() < whole {
            more(&mut connection, &mut read)?;
        }
        read.drain(..whole);
        let begun = Instant::now();
        std::thread::sleep(latency);
        let took = u64::try_from(begun.elapsed().as_micros()).ok()?;
        GIVEN.0.fetch_add(1, Ordering::Relaxed);
        GIVEN.1.fetch_add(took, Ordering::Relaxed);
        connection.write_all(answer.as_bytes()).ok()?;
    }
}
