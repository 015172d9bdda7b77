//! The laws that every judge, filter, stage and backend must keep.
