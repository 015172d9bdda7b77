//! What is there already.

/// What to do when a folder already holds a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Fail and leave it alone.
    #[default]
    Refuse,
    /// Remove it and start anew.
    Overwrite,
    /// Go on after its last outcome, if it was made with the same manifest; start anew if there is none.
    Resume,
}
