//! Figures: beside those of other people's code, in simulations, and on any input.

mod golden;
mod simulated;
mod total;
