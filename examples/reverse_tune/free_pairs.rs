use safer_instruct::{Error, Result, dataset::InstructionPair, hub::ModelSource};
use std::path::PathBuf;
pub(crate) fn pairs(_: &dyn Fn(&ModelSource) -> Result<PathBuf>) -> Result<Vec<InstructionPair>> {
    Err(Error::config("pairs", "none"))
}
