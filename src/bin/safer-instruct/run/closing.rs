//! What is printed at the end of a run.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use safer_instruct::{
    Error, Judgement, Result,
    dataset::{Summary, read_pairs},
    run::{End, Limit, RunReport},
};
use serde::Deserialize;
use serde_json::json;

use super::{folder::Folder, layout};
use crate::settings::money;

/// Pairs that are shown.
const SHOWN: usize = 3;

/// The result of a run.
pub(crate) struct Closing<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) report: &'a RunReport,
    pub(crate) summary: &'a Summary,
    pub(crate) uncovered: &'a str,
    /// How far the verdicts can be trusted, a line each.
    pub(crate) trust: Vec<String>,
}

/// How often the judge was asked, and how often its verdict followed the order of the responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Judged {
    judged: u64,
    flipped: u64,
    /// Kept responses that were cut off.
    truncated: u64,
}

#[derive(Deserialize)]
struct Line {
    judgement: Option<Judgement>,
}

impl Closing<'_> {
    /// Prints the counts, the speed, a few pairs, where the files are and how to go on.
    pub(crate) fn print(&self) -> Result<()> {
        let judged = self.judged()?;
        println!("{}", self.summary);
        let now = &self.report.progress;
        let tokens = now.usage.total();
        let mut spent = format!("{:.1} s, {tokens} tokens read and written", now.seconds);
        if now.seconds > 0.0 {
            spent.push_str(&format!(", {:.0} tokens/s", tokens as f64 / now.seconds));
        }
        if now.cost > 0 {
            spent.push_str(&format!(", {} spent", money(now.cost)));
        }
        println!("{spent}");
        if judged.judged > 0 {
            println!(
                "the verdict changed with the order of the responses in {} of {} judgements ({:.0} %)",
                judged.flipped,
                judged.judged,
                100.0 * judged.flipped as f64 / judged.judged as f64
            );
        }
        for line in &self.trust {
            println!("{line}");
        }
        if !self.uncovered.is_empty() {
            println!("{}", self.uncovered);
        }
        if self.summary.kept() > 0 {
            self.print_pairs()?;
        } else if self.summary.read() > 0 {
            println!(
                "\nNo pairs: the table says at which stage and why the texts ended; dropped.jsonl has each of them."
            );
            println!("Try a stronger --model, more --draws or a larger --max-tokens.");
        }
        if judged.truncated > 0 {
            println!(
                "\n{} responses were cut off at --max-tokens (`truncated` in their provenance)",
                judged.truncated
            );
        }
        println!("\nfiles: {}", self.folder.path().display());
        if let Some(next) = self.next() {
            println!("{next}");
        }
        Ok(())
    }

    /// Prints the same for machines.
    pub(crate) fn print_json(&self) -> Result<()> {
        let judged = self.judged()?;
        let line = json!({
            "end": self.report.end,
            "folder": self.folder.path(),
            "summary": self.summary,
            "progress": self.report.progress,
            "judged": judged.judged,
            "flipped": judged.flipped,
        });
        println!("{line}");
        Ok(())
    }

    /// How to go on.
    fn next(&self) -> Option<String> {
        let progress = &self.report.progress;
        Some(match self.report.end {
            End::Stopped => {
                let of = progress
                    .total
                    .map_or(String::new(), |total| format!(" of {total}"));
                format!(
                    "stopped after {}{of} outcomes; go on with:\n  {}",
                    progress.done,
                    self.folder.command("resume")
                )
            }
            End::OverBudget(limit) => {
                let option = match limit {
                    Limit::Tokens => "--budget-tokens",
                    Limit::Money => "--budget",
                    Limit::Requests => "--budget-requests",
                    Limit::WallTime => "--budget-minutes",
                };
                format!(
                    "the budget of {option} is spent; go on under a larger one:\n  {} {option} …",
                    self.folder.command("resume")
                )
            }
            End::Complete if progress.failed > 0 => format!(
                "{} failed; failed.jsonl says why. Try them again with:\n  {}",
                progress.failed,
                self.folder.command("retry")
            ),
            End::Complete => return None,
        })
    }

    fn print_pairs(&self) -> Result<()> {
        println!("\nThe first pairs. The rejected texts are as they came and may be unpleasant.");
        let width = layout::width();
        for pair in read_pairs(self.folder.path().join("pairs.jsonl"))?.take(SHOWN) {
            let pair = pair?;
            println!();
            for (name, text) in [
                ("prompt", &pair.prompt),
                ("chosen", &pair.chosen),
                ("rejected", &pair.rejected),
            ] {
                println!("{}", layout::line(name, text, width));
            }
        }
        Ok(())
    }

    fn judged(&self) -> Result<Judged> {
        let mut judged = Judged::default();
        for pair in read_pairs(self.folder.path().join("pairs.jsonl"))? {
            let made = pair?.provenance;
            judged.add(made.judgement.flipped);
            let response = made.response.as_ref();
            judged.truncated += u64::from(response.is_some_and(|origin| origin.truncated));
        }
        for name in ["dropped.jsonl", "failed.jsonl"] {
            judged.add_file(&self.folder.path().join(name))?;
        }
        Ok(judged)
    }
}

impl Judged {
    fn add(&mut self, flipped: bool) {
        self.judged += 1;
        self.flipped += u64::from(flipped);
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let io = |error| Error::io(path, error);
        for (number, line) in (1..).zip(BufReader::new(File::open(path).map_err(io)?).lines()) {
            let line: Line = serde_json::from_str(&line.map_err(io)?)
                .map_err(|_| Error::input(path, number, "it was changed since it was written"))?;
            if let Some(judgement) = line.judgement {
                self.add(judgement.flipped());
            }
        }
        Ok(())
    }
}
