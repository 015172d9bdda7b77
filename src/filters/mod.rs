//! Filters: keep or drop one item, with a reason.
