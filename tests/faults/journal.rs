//! What must hold of a journal: it is sound, its sums are those of its calls, and no answered call is paid again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use rusqlite::{Connection, OpenFlags};

use crate::{
    checks::{Row, expect, reference},
    trial::{Finding, Trial},
    worker::{CONCURRENCY, COST},
};

impl Trial {
    pub(crate) fn journal(&self) -> PathBuf {
        self.order.folder.join("run.sqlite")
    }

    pub(crate) fn check_sound(&self) -> Result<(), Finding> {
        let sound: String = self
            .reader()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap_or_else(|error| error.to_string());
        expect("sound", sound == "ok", || sound.clone())
    }

    pub(crate) fn check_sums(&self) -> Result<(), Finding> {
        for (of_calls, of_budget) in [("cost", "money"), ("tries", "requests")] {
            let calls = self.number(&format!("SELECT coalesce(sum({of_calls}), 0) FROM calls"));
            let budget = self.number(&format!("SELECT {of_budget} FROM budget"));
            expect("sums", calls == budget, || {
                format!("{of_calls}: {calls} in the calls, {budget} in the budget")
            })?;
        }
        let done = self.number("SELECT count(*) FROM calls WHERE state = 'done'");
        let cost = self.number("SELECT coalesce(sum(cost), 0) FROM calls");
        expect("sums", cost == done * COST, || {
            format!("{done} answers cost {cost}")
        })?;

        Ok(())
    }

    /// Counts the calls that were in flight when the last session ended.
    pub(crate) fn note_in_flight(&mut self) -> Result<(), Finding> {
        let intents = self.intents();
        let new = intents.difference(&self.intents).count();
        expect("in flight", new <= CONCURRENCY, || {
            format!("{new} calls were in flight")
        })?;
        self.in_flight += new as u64;
        self.intents = intents;
        Ok(())
    }

    /// That no call was made again whose answer was given out, and how many were paid without one.
    pub(crate) fn check_bill(&self) -> Result<u64, Finding> {
        let bill = self.server.bill();
        let mut answered: BTreeSet<&str> = BTreeSet::new();
        let mut may_be: BTreeMap<&str, u64> = BTreeMap::new();
        for (number, session) in self.sessions.iter().enumerate() {
            let mine = bill.iter().filter(|(of, _)| *of == number as u64);
            let mut asked: BTreeSet<&str> = BTreeSet::new();
            for (_, call) in mine {
                expect("paid once", asked.insert(call), || {
                    format!("{call} twice in session {number}")
                })?;
                expect("paid once", !answered.contains(call.as_str()), || {
                    format!("{call} again in session {number}")
                })?;
            }
            answered.extend(session.answers.iter().map(String::as_str));
            let lost: Vec<&&str> = asked
                .iter()
                .filter(|call| !answered.contains(**call))
                .collect();
            let most = if session.succeeded { 0 } else { CONCURRENCY };
            expect("paid once", lost.len() <= most, || {
                format!("{} in flight in session {number}", lost.len())
            })?;
            for call in lost {
                *may_be.entry(call).or_insert(1) += 1;
            }
        }
        let mut paid: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, call) in &bill {
            *paid.entry(call).or_default() += 1;
        }
        for (call, times) in &paid {
            let most = may_be.get(call).copied().unwrap_or(1);
            expect("paid once", *times <= most, || {
                format!("{call} {times} times of {most}")
            })?;
        }
        let tries = self.number("SELECT sum(tries) FROM calls");
        let times = bill.len() as u64;
        expect("tries", tries >= times, || {
            format!("{tries} tries, {times} paid")
        })?;
        let calls = reference(&self.order).calls;
        expect("paid once", paid.len() as u64 == calls, || {
            format!("{} calls, and {calls} without faults", paid.len())
        })?;
        Ok(times - calls)
    }

    fn reader(&self) -> Connection {
        Connection::open_with_flags(self.journal(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
    }

    pub(crate) fn number(&self, sql: &str) -> u64 {
        self.reader().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn journal_rows(&self) -> Vec<Row> {
        let reader = self.reader();
        let sql = "SELECT place, source_id, draw, kind, line FROM outcomes ORDER BY place";
        let mut query = reader.prepare(sql).unwrap();
        let rows = query.query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn intents(&self) -> BTreeSet<(String, u64)> {
        let reader = self.reader();
        let sql = "SELECT hex(key), tries FROM calls WHERE state = 'intent'";
        let mut query = reader.prepare(sql).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }
}
