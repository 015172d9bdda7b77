//! Counts of what the records of a file held.

use std::fmt;

/// Why a sound record gives no pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PassedOver {
    NoExchange,
    NotText,
    EmptyInstruction,
    EmptyResponse,
}

/// How many records an [`InstructionReader`](super::InstructionReader) has read so far, and what came of them.
///
/// `Display` is one line, such as `2134 pairs, 1 bad record, 2 passed over: 1 no_exchange, 1 empty_response`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstructionReport {
    /// Pairs that came out.
    pub pairs: u64,
    /// Errors that came out: records that cannot be read.
    pub bad: u64,
    /// Conversations that do not begin with a person's turn and the model's answer to it.
    pub no_exchange: u64,
    /// Conversations whose first turns hold something other than text, such as an image.
    pub not_text: u64,
    /// Pairs whose instruction is empty or white space.
    pub empty_instruction: u64,
    /// Pairs whose response is empty or white space.
    pub empty_response: u64,
}

impl InstructionReport {
    /// Records that can be read, but hold no pair.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.reasons().iter().map(|(_, count)| count).sum()
    }

    pub(super) fn pass_over(&mut self, why: PassedOver) {
        let count = match why {
            PassedOver::NoExchange => &mut self.no_exchange,
            PassedOver::NotText => &mut self.not_text,
            PassedOver::EmptyInstruction => &mut self.empty_instruction,
            PassedOver::EmptyResponse => &mut self.empty_response,
        };
        *count += 1;
    }

    fn reasons(&self) -> [(&'static str, u64); 4] {
        [
            ("no_exchange", self.no_exchange),
            ("not_text", self.not_text),
            ("empty_instruction", self.empty_instruction),
            ("empty_response", self.empty_response),
        ]
    }
}

impl fmt::Display for InstructionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let Self { pairs, bad, .. } = self;
        write!(
            f,
            "{pairs} pair{}, {bad} bad record{}, {} passed over",
            plural(*pairs),
            plural(*bad),
            self.passed_over()
        )?;
        let mut before = ": ";
        for (reason, count) in self.reasons() {
            if count > 0 {
                write!(f, "{before}{count} {reason}")?;
                before = ", ";
            }
        }
        Ok(())
    }
}
