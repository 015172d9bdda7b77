//! Models on local hardware, through candle.
