//! How a command ended, and its exit code.

use std::process::ExitCode;

/// How a command ended, errors aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is done.
    Done,
    /// A limit of the budget was reached; the command can go on under a larger one.
    OverBudget,
    /// Ctrl-C or SIGTERM; the command can go on.
    Stopped,
}

impl Ended {
    /// What a shell expects of a program that Ctrl-C ends: 128 + SIGINT.
    pub(crate) const STOPPED: u8 = 130;

    /// The exit code.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Done => 0,
            Self::OverBudget => 3,
            Self::Stopped => Self::STOPPED,
        })
    }
}
