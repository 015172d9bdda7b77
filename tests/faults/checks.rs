//! What must hold after each session of a run, and at its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use crate::{
    trial::{Finding, Trial},
    worker::{Order, Store},
};

/// An outcome: place, text, draw, kind and line.
pub(crate) type Row = (u64, String, u32, String, String);

/// What a run is without faults.
pub(crate) struct Reference {
    pub(crate) rows: Vec<Row>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) calls: u64,
}

/// The same for every test with the same store; another one without the filter that remembers pairs.
pub(crate) fn reference(order: &Order) -> &'static Reference {
    static REFERENCES: [OnceLock<Reference>; 4] = [const { OnceLock::new() }; 4];
    let place = usize::from(order.plain) + 2 * (order.store as usize);
    REFERENCES[place].get_or_init(|| {
        let mut trial = Trial::new(order.store);
        trial.order.plain = order.plain;
        let session = trial.session(None);
        assert!(session.succeeded && session.failed == 0, "{session:?}");
        let reference = Reference {
            rows: trial.rows(),
            files: trial.files(),
            calls: match order.store {
                Store::Journal => trial.number("SELECT count(*) FROM calls"),
                Store::Folder => 0,
            },
        };
        let kinds: BTreeSet<&str> = reference.rows.iter().map(|row| row.3.as_str()).collect();
        assert_eq!(kinds.len(), 2, "kept and dropped: {kinds:?}");
        reference
    })
}

pub(crate) fn expect(
    check: &'static str,
    holds: bool,
    what: impl FnOnce() -> String,
) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err((check, what())) }
}

impl Trial {
    /// What must hold after a session.
    pub(crate) fn check(&mut self) -> Result<(), Finding> {
        let session = self.sessions.last().unwrap();
        if !session.killed && !session.succeeded {
            return Err(("worker", session.output.clone()));
        }
        self.check_store()
    }

    /// What must hold of the store at any time.
    pub(crate) fn check_store(&mut self) -> Result<(), Finding> {
        let acknowledged = self.sessions.iter().map(|session| session.done).max();
        let acknowledged = acknowledged.unwrap_or(0);
        let journal = self.order.store == Store::Journal;
        if journal && !self.journal().exists() {
            return expect("acknowledged", acknowledged == 0, || {
                "no journal".to_owned()
            });
        }
        if journal {
            self.check_sound()?;
        }
        let rows = self.rows();
        let count = rows.len() as u64;
        expect("acknowledged", acknowledged <= count, || {
            format!("{acknowledged} outcomes are acknowledged, {count} are there")
        })?;
        let known = &reference(&self.order).rows;
        expect("outcomes", known.starts_with(&rows), || {
            let differ = known.iter().zip(&rows).position(|(a, b)| a != b);
            format!("of {count} the one at {differ:?} is another")
        })?;
        if journal {
            self.check_sums()?;
            self.note_in_flight()?;
        }
        Ok(())
    }

    /// What must hold at the end. Gives the number of calls whose paid answer was lost.
    pub(crate) fn finish(mut self) -> Result<u64, Finding> {
        if !self.sessions.last().is_some_and(|last| last.succeeded) {
            self.session(None);
            self.check()?;
        }
        let reference = reference(&self.order);
        let in_vain = match self.order.store {
            Store::Journal => self.check_bill()?,
            Store::Folder => 0,
        };
        expect("in flight", in_vain <= self.in_flight, || {
            format!("{in_vain} paid in vain, {} in flight", self.in_flight)
        })?;
        let rows = self.rows();
        expect("outcomes", rows == reference.rows, || {
            format!("{} of {}", rows.len(), reference.rows.len())
        })?;
        let files = self.files();
        for (name, bytes) in &reference.files {
            let same = files.get(name) == Some(bytes);
            expect("bytes", same, || name.clone())?;
        }
        expect("bytes", files.len() == reference.files.len(), || {
            format!("{} files", files.len())
        })?;
        self.order.changed = true;
        let session = self.session(None);
        let refused = session
            .output
            .contains("record 4 (\"post-3\") has another text");
        expect("another text", !session.succeeded && refused, || {
            format!("it is not refused\n{}", session.output)
        })?;
        self.check_canary()?;
        Ok(in_vain)
    }

    /// The outcomes that are there.
    fn rows(&self) -> Vec<Row> {
        match self.order.store {
            Store::Journal => self.journal_rows(),
            Store::Folder => self.folder_rows(),
        }
    }
}
