//! Long runs against a served model, which survive a crash, a cut connection and a full disk:
//!
//! ```text
//! export OPENAI_API_KEY=...
//! cargo run --release --features reqwest,run --example run -- start --base-url https://api.openai.com/v1 --model gpt-4o-mini
//! ```
//!
//! `start` writes everything into a folder (`run`), `resume` goes on after whatever happened, `status` looks on from beside, `retry` works
//! on the failed texts alone, `export` writes the files. Nothing that was answered is asked, or paid, twice.
//! Exit codes: 0 done, 1 failed, 2 bad arguments, 3 over budget, 130 stopped with Ctrl-C or SIGTERM.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../shared/input.rs"]
mod input;
mod options;
mod progress;
mod stages;

use std::{
    env, fs,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use futures::{FutureExt, channel::oneshot, executor::block_on};
use options::{Command, Options, Settings, Work};
use progress::Progress;
use safer_instruct::{
    Decorate, Error, Result, RetryPolicy,
    backends::openai::{Client, OpenAiModel},
    dataset::into_stream,
    run::{End, Journal, Report, Runner, Status},
};

const OVER_BUDGET: u8 = 3;
/// What a shell expects of a program that ends with Ctrl-C: 128 + SIGINT.
const STOPPED: u8 = 130;

/// What is tried again, and how long: some minutes, so that a server may be started anew meanwhile.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 8,
    base: Duration::from_secs(1),
    max_wait: Duration::from_secs(60),
    max_asked: Duration::from_secs(300),
    seed: 0,
};

fn main() -> ExitCode {
    let Options { folder, command } = Options::parse();
    let run = Folder(folder);
    let done = match command {
        Command::Start { settings, work } => settings
            .settled()
            .and_then(|settings| run.start(&settings, &work)),
        Command::Resume(work) => run.go_on(&work, false),
        Command::Retry(work) => run.go_on(&work, true),
        Command::Status { json } => run.status(json),
        Command::Export => run.export(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {}", error.report());
        ExitCode::FAILURE
    })
}

/// The folder of a run.
struct Folder(PathBuf);

impl Folder {
    fn journal(&self) -> PathBuf {
        self.0.join("run.sqlite")
    }

    fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    fn start(&self, settings: &Settings, work: &Work) -> Result<ExitCode> {
        if self.journal().exists() {
            let reason = format!(
                "{} holds a run already; `resume` goes on with it, or take another --folder",
                self.0.display()
            );
            return Err(Error::config("folder", reason));
        }
        // Bad input and a server that cannot do it are better known before there is a run.
        let total = settings.count()?;
        let model = connect(settings, work)?;
        fs::create_dir_all(&self.0).map_err(|error| Error::io(&self.0, error))?;
        let json =
            serde_json::to_vec_pretty(settings).map_err(|error| Error::Other(error.into()))?;
        fs::write(self.settings(), json).map_err(|error| Error::io(self.settings(), error))?;
        let journal = Journal::create(self.journal(), settings.manifest()?)?;
        self.work(journal, model, settings, work, total, false)
    }

    fn go_on(&self, work: &Work, retry: bool) -> Result<ExitCode> {
        self.check()?;
        let settings = self.read_settings()?;
        let total = settings.count()?;
        let journal = Journal::open(self.journal(), settings.manifest()?)?;
        let model = connect(&settings, work)?;
        self.work(journal, model, &settings, work, total, retry)
    }

    fn read_settings(&self) -> Result<Settings> {
        let path = self.settings();
        let json = fs::read(&path).map_err(|error| Error::io(&path, error))?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::input(
                path,
                error.line() as u64,
                format!("{error}; is it of another version?"),
            )
        })
    }

    fn work(
        &self,
        mut journal: Journal,
        (model, client): (OpenAiModel, Client),
        settings: &Settings,
        work: &Work,
        total: u64,
        retry: bool,
    ) -> Result<ExitCode> {
        block_on(journal.set_budget(work.budget()))?;
        // Outside of the journal, so that it counts every try.
        let model = journal
            .record(model, settings.model.as_str())
            .with_price(work.price())
            .with_retry(RETRY, client.clone());
        let model = Arc::new(model);
        let pipeline = stages::pipeline(&model, settings).with_concurrency(work.concurrency);
        let texts = into_stream(settings.texts()?)?;
        let stopped = stop_on_signal()?;
        let begun = Instant::now();
        let progress = Progress::new(work.json);
        let report = {
            let progress = progress.clone();
            let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), client)
                .with_total(total)
                .with_drain(Duration::from_secs(work.drain))
                .with_stop(stopped.map(|_| ()))
                .with_observer(move |now| progress.show(now));
            block_on(async {
                if retry {
                    runner.retry(texts).await
                } else {
                    runner.run(texts).await
                }
            })
        };
        progress.end();
        let report = report?;
        let files = self.0.join("out");
        let summary = journal.export(&files)?;
        if !work.json {
            println!("{summary}\nfiles: {}", files.display());
        }
        Ok(self.ended(&report))
    }

    fn ended(&self, report: &Report) -> ExitCode {
        let folder = self.0.display();
        match report.end {
            End::Complete if report.progress.failed > 0 => {
                eprintln!(
                    "{} texts failed; failed.jsonl says why, and this tries them again:\n  … --example run -- --folder {folder} retry",
                    report.progress.failed
                );
                ExitCode::SUCCESS
            }
            End::Complete => ExitCode::SUCCESS,
            End::Stopped => {
                eprintln!("stopped; this goes on:\n  … --example run -- --folder {folder} resume");
                ExitCode::from(STOPPED)
            }
            End::OverBudget(limit) => {
                eprintln!("the budget is spent ({limit:?}); `resume` goes on under a larger one");
                ExitCode::from(OVER_BUDGET)
            }
        }
    }

    /// Whether there is a run.
    fn check(&self) -> Result<()> {
        if self.journal().exists() {
            return Ok(());
        }
        let reason = format!("{} holds no run; `start` begins one", self.0.display());
        Err(Error::config("folder", reason))
    }

    fn status(&self, json: bool) -> Result<ExitCode> {
        self.check()?;
        let status = Status::read(self.journal())?;
        if json {
            let json =
                serde_json::to_string(&status).map_err(|error| Error::Other(error.into()))?;
            println!("{json}");
            return Ok(ExitCode::SUCCESS);
        }
        println!(
            "{}: {} outcomes, {} pairs ({:.0} %), {} dropped, {} failed",
            if status.complete {
                "complete"
            } else {
                "not complete"
            },
            status.done(),
            status.kept,
            100.0 * status.kept_share(),
            status.dropped,
            status.failed
        );
        println!(
            "{} calls, {} tokens, {} spent; {} in flight or cut off",
            status.spent.requests,
            status.spent.usage.total(),
            options::money(status.spent.money),
            status.in_flight
        );
        Ok(ExitCode::SUCCESS)
    }

    fn export(&self) -> Result<ExitCode> {
        self.check()?;
        let files = self.0.join("out");
        let summary = safer_instruct::run::export(self.journal(), &files)?;
        println!("{summary}\nfiles: {}", files.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// The model, once its server has answered, and what carries its requests.
fn connect(settings: &Settings, work: &Work) -> Result<(OpenAiModel, Client)> {
    let client = Client::builder()
        .with_timeout(Duration::from_secs(work.timeout))
        .build()?;
    let base = work.at.clone().unwrap_or_else(|| settings.base_url());
    let mut builder = OpenAiModel::builder(base, &settings.model)
        .with_client(client.clone())
        .with_limits(work.limits());
    for other in &work.endpoint {
        builder = builder.with_endpoint(other);
    }
    if let Ok(key) = env::var(&work.key_variable) {
        builder = builder.with_key(key);
    }
    for need in settings.needs() {
        builder = builder.with_need(need);
    }
    for (name, value) in settings.fields()? {
        builder = builder.with_field(name, value);
    }
    let model = block_on(builder.connect())?;
    eprintln!("{} answers, served by {}", settings.model, model.server());
    Ok((model, client))
}

/// Ends at the first Ctrl-C or SIGTERM. The second one ends the program at once.
fn stop_on_signal() -> Result<oneshot::Receiver<()>> {
    let (stop, stopped) = oneshot::channel();
    let mut stop = Some(stop);
    ctrlc::set_handler(move || match stop.take() {
        Some(stop) => {
            eprintln!("stopping after the texts in work; once more ends at once, and loses what is in flight");
            let _ = stop.send(());
        }
        None => std::process::exit(i32::from(STOPPED)),
    })
    .map_err(|error| Error::Other(error.into()))?;
    Ok(stopped)
}
