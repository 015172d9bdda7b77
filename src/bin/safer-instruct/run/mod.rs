//! `run`, `resume` and `retry`: from texts to pairs.

mod bundled;
mod closing;
mod dry_run;
mod folder;
pub(crate) mod layout;
mod models;
mod profile;
mod served;
mod stages;
mod texts;
mod work;

use std::path::{Path, PathBuf};

use clap::Args;
pub(crate) use folder::{Folder, quoted};
use models::Models;
use safer_instruct::{Error, Result, run::Journal};
use stages::Prompts;
use texts::Counted;
use tokio::runtime::Runtime;
use work::{Which, Work};

use crate::{
    ended::Ended,
    settings::{Given, Settings, from_file},
    stop::Stop,
};

/// A new run.
#[derive(Args, Debug)]
pub(crate) struct Begin {
    /// File of settings, as `safer-instruct init` writes it; an option wins over it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Say what would be done: models, form, filters, the first text's prompts, and an estimate of calls, tokens and
    /// cost
    #[arg(long)]
    dry_run: bool,
    /// Remove the run that is in the folder
    #[arg(long)]
    overwrite: bool,
    /// Print the summary as one line of JSON, for machines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Box<Given>,
}

/// A run that goes on.
#[derive(Args, Debug)]
#[command(mut_arg("output", |arg| arg.hide(true)))]
pub(crate) struct GoOn {
    /// Folder of the run [default: out]
    folder: Option<PathBuf>,
    /// Print the summary as one line of JSON, for machines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    given: Box<Given>,
}

impl Begin {
    /// Begins the run, and works on it.
    pub(crate) fn start(mut self, stop: &Stop) -> Result<Ended> {
        begin_paths_here(&mut self.given)?;
        let file = match &self.settings {
            Some(path) => from_file(path)?,
            None => Given::default(),
        };
        let mut settings = Settings::of(&[&file, &self.given])?;
        let folder = Folder::new(Some(settings.output.folder.clone()));
        let prompts = Prompts::read(&settings)?;
        if self.dry_run {
            let counted = count(&settings)?;
            runtime()?.block_on(dry_run::print(&settings, &prompts, &counted))?;
            return Ok(Ended::Done);
        }
        folder.check_free(self.overwrite)?;
        folder.check_input(settings.input.path.as_deref())?;
        // Before anything of another run could be replaced. A folder that is not there yet is made when all else is sure.
        let is_stdin = settings.input.path.as_deref() == Some(Path::new("-"));
        let early = match is_stdin || folder.path().is_dir() {
            true => Some(folder.lock()?),
            false => None,
        };
        let stdin = texts::keep_stdin(&mut settings.input, &folder)?;
        let counted = count(&settings)?;
        say_uncovered(&counted);
        let runtime = runtime()?;
        let models = runtime.block_on(Models::open(&settings))?;
        profile::fill(&mut settings, &models.profile);
        folder.make()?;
        let _lock = match early {
            Some(lock) => lock,
            None => folder.lock()?,
        };
        folder.check_free(self.overwrite)?;
        if self.overwrite {
            folder.clear()?;
        }
        if let Some(texts) = stdin {
            texts.settle(&mut settings.input)?;
        }
        let work = Work {
            folder: &folder,
            settings: &settings,
            models: &models,
            prompts: &prompts,
            total: counted.texts,
            uncovered: counted.uncovered.to_string(),
            json: self.json,
        };
        // A journal without settings could not be resumed.
        folder.write_settings(&settings)?;
        let journal = Journal::create(folder.journal(), work.manifest()?)?;
        runtime.block_on(work.run(journal, Which::Left, stop))
    }
}

impl GoOn {
    /// Goes on with the texts that have no outcome.
    pub(crate) fn resume(self, stop: &Stop) -> Result<Ended> {
        self.go_on(Which::Left, stop)
    }

    /// Works on the texts that failed.
    pub(crate) fn retry(self, stop: &Stop) -> Result<Ended> {
        self.go_on(Which::Failed, stop)
    }

    fn go_on(mut self, which: Which, stop: &Stop) -> Result<Ended> {
        begin_paths_here(&mut self.given)?;
        let folder = Folder::new(self.folder.take());
        folder.check_run()?;
        let _lock = folder.lock()?;
        let mut settings = Settings::of(&[&folder.read_settings()?, &self.given])?;
        let prompts = Prompts::read(&settings)?;
        let counted = count(&settings)?;
        let runtime = runtime()?;
        let models = runtime.block_on(Models::open(&settings))?;
        profile::fill(&mut settings, &models.profile);
        let work = Work {
            folder: &folder,
            settings: &settings,
            models: &models,
            prompts: &prompts,
            total: counted.texts,
            uncovered: counted.uncovered.to_string(),
            json: self.json,
        };
        let journal = Journal::open(folder.journal(), work.manifest()?)?;
        // A budget or an address that was given now holds for the next time too.
        folder.write_settings(&settings)?;
        runtime.block_on(work.run(journal, which, stop))
    }
}

/// Relative paths of the command line begin in the current folder. The folder of the output stays as it is written.
fn begin_paths_here(given: &mut Given) -> Result<()> {
    let output = given.output.folder.clone();
    let here = std::env::current_dir().map_err(|error| Error::io(".", error))?;
    given.begin_paths_at(&here);
    given.output.folder = output;
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Runtime::new().map_err(|error| Error::Other(error.into()))
}

/// Reads all texts once, and counts those that the models cannot handle.
fn count(settings: &Settings) -> Result<Counted> {
    let languages = profile::languages(settings)?;
    texts::count(&settings.input, languages)
}

fn say_uncovered(counted: &Counted) {
    if !counted.uncovered.is_empty() {
        eprintln!("{}", counted.uncovered);
    }
}
