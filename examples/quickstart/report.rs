//! What is said at the end.

use std::{path::Path, time::Duration};

use safer_instruct::{
    Judgement, Outcome, PreferencePair, Result,
    dataset::{Summary, read_pairs},
};

/// Pairs that are shown.
const SHOWN: usize = 3;
/// Characters of each text that are shown.
const CHARS: usize = 200;

/// How often the judge was asked and changed its mind when the responses changed places.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flips {
    judged: u64,
    flipped: u64,
}

impl Flips {
    /// Counts one outcome.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        let flipped = match outcome {
            Outcome::Kept(pair) => Some(pair.provenance.judgement.flipped),
            Outcome::Dropped { draft, .. } | Outcome::Failed { draft, .. } => {
                draft.judgement().ok().map(Judgement::flipped)
            }
        };
        self.judged += u64::from(flipped.is_some());
        self.flipped += u64::from(flipped == Some(true));
    }
}

/// Prints the counts, the speed, a few pairs and where the files are.
pub(crate) fn print(
    output: &Path,
    summary: &Summary,
    flips: Flips,
    tokens: u64,
    took: Duration,
) -> Result<()> {
    println!("{summary}");
    let seconds = took.as_secs_f64();
    println!(
        "{seconds:.1} s, {tokens} tokens read and written, {:.0} tokens/s",
        tokens as f64 / seconds.max(1e-9)
    );
    if flips.judged > 0 {
        println!(
            "the judge changed its mind with the order of the responses in {} of {} judgements ({:.0} %)",
            flips.flipped,
            flips.judged,
            100.0 * flips.flipped as f64 / flips.judged as f64
        );
    }
    if summary.kept() == 0 {
        println!("\nNo pairs: the table says at which stage and why the texts ended.");
        println!(
            "Try another --form, more --draws, a larger --max-tokens or a stronger --model; dropped.jsonl has every text."
        );
    } else {
        print_pairs(&output.join("pairs.jsonl"))?;
    }
    println!("\nfiles: {}", output.display());
    Ok(())
}

fn print_pairs(path: &Path) -> Result<()> {
    let mut cut = 0_u64;
    for (place, pair) in read_pairs(path)?.enumerate() {
        let pair = pair?;
        if place == 0 {
            println!(
                "\nThe first pairs. The rejected texts are as they came and may be unpleasant."
            );
        }
        if place < SHOWN {
            print_pair(&pair);
        }
        let response = pair.provenance.response.as_ref();
        cut += u64::from(response.is_some_and(|origin| origin.truncated));
    }
    if cut > 0 {
        println!(
            "\n{cut} responses were cut off at --max-tokens (`truncated` in their provenance); --finished drops them"
        );
    }
    Ok(())
}

fn print_pair(pair: &PreferencePair) {
    println!("\n  prompt    {}", shown(&pair.prompt));
    println!("  chosen    {}", shown(&pair.chosen));
    println!("  rejected  {}", shown(&pair.rejected));
}

/// The beginning of a text, on one line. Texts are untrusted: a control character could command the terminal, and one
/// that changes the direction of writing could make a line read as what it is not.
fn shown(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars().take(CHARS) {
        let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || invisible {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if text.chars().nth(CHARS).is_some() {
        line.push_str(" […]");
    }
    line
}
