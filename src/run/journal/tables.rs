//! What is done to the tables, within a transaction of the thread that owns them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    budget::{Budget, Overdraft},
    fatal::{DAMAGED, Fatal},
    schema::manifest_value,
    wall_time::WallTime,
};
use crate::{
    dataset::Kind,
    error::Result,
    record::Usage,
    run::{
        faults::faults,
        limit::{Spent, milliseconds},
        store::{PastOutcome, PastQuery},
        worker::Blocking,
    },
};

pub(super) type Hash = [u8; 32];

const COMPLETE: &str = "complete";

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Kept => "kept",
        Kind::Dropped => "dropped",
        Kind::Failed => "failed",
    }
}

pub(super) fn kind_of(name: &str) -> Option<Kind> {
    [Kind::Kept, Kind::Dropped, Kind::Failed]
        .into_iter()
        .find(|kind| kind_name(*kind) == name)
}

/// Outcomes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) kept: u64,
    pub(super) dropped: u64,
    pub(super) failed: u64,
}

impl Counts {
    pub(super) fn read(connection: &Connection) -> Result<Self, Fatal> {
        let mut counts = Self::default();
        let mut query = connection.prepare("SELECT kind, count(*) FROM outcomes GROUP BY kind")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let kind: String = row.get(0)?;
            if let Some(kind) = kind_of(&kind) {
                *counts.of(kind) = row.get(1)?;
            }
        }
        Ok(counts)
    }

    pub(super) fn total(&self) -> u64 {
        self.kept + self.dropped + self.failed
    }

    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Kept => &mut self.kept,
            Kind::Dropped => &mut self.dropped,
            Kind::Failed => &mut self.failed,
        }
    }
}

/// What is known without asking the file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) spent: Spent,
    pub(super) budget: Budget,
    /// Calls of this session that were answered from the journal.
    pub(super) replayed: u64,
}

/// What is to be done about a call.
#[derive(Debug, PartialEq)]
pub(super) enum Begun {
    /// It is written down; make it.
    Make,
    /// It was answered before.
    Answered(String),
    /// The budget has no money, tokens or requests left for it.
    Refused(Overdraft),
}

/// A call that was answered.
pub(super) struct Answered {
    pub(super) key: Hash,
    pub(super) answer: String,
    pub(super) usage: Usage,
    pub(super) cost: u64,
}

/// An outcome as a row.
pub(super) struct OutcomeRow {
    pub(super) place: u64,
    pub(super) source_id: String,
    pub(super) draw: u32,
    pub(super) kind: Kind,
    pub(super) stage: Option<&'static str>,
    pub(super) code: Option<String>,
    pub(super) text_hash: Hash,
    pub(super) line: String,
    pub(super) dropped_pair: Option<String>,
}

/// The one connection that writes.
pub(super) struct Tables {
    pub(super) path: PathBuf,
    connection: Connection,
    pub(super) tally: Tally,
    pub(super) wall_time: WallTime,
    saved: Spent,
}

impl Tables {
    pub(super) fn new(path: &Path, connection: Connection) -> Result<Self, Fatal> {
        let (spent, budget) = read_budget(&connection)?;
        let tally = Tally {
            counts: Counts::read(&connection)?,
            spent,
            budget,
            replayed: 0,
        };
        let next = "SELECT coalesce(max(place) + 1, 0) FROM outcomes";
        let next: u64 = connection.query_row(next, [], |row| row.get(0))?;
        if next != tally.counts.total() {
            return Err(Fatal::damaged(DAMAGED));
        }
        Ok(Self {
            path: path.to_owned(),
            connection,
            tally,
            wall_time: WallTime::new(spent.wall_time),
            saved: spent,
        })
    }

    fn begin_transaction(&self) -> Result<(), Fatal> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Commits what was done, and with it what it cost.
    fn commit_transaction(&mut self) -> Result<(), Fatal> {
        if !faults().writes_sums_with_answers() {
            self.connection.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
        }
        self.tally.spent.wall_time = self.wall_time.get();
        let spent = self.tally.spent;
        if spent != self.saved {
            let sql = "UPDATE budget SET prompt_tokens = ?1, completion_tokens = ?2, money = ?3, requests = ?4, milliseconds = ?5";
            self.connection.prepare_cached(sql)?.execute(params![
                spent.usage.prompt_tokens,
                spent.usage.completion_tokens,
                spent.money,
                spent.requests,
                milliseconds(spent.wall_time),
            ])?;
            self.saved = spent;
        }
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Looks a call up, and writes it down before it is made.
    pub(super) fn begin_call(&mut self, key: &Hash, model: &str) -> Result<Begun, Fatal> {
        let sql = "SELECT answer FROM calls WHERE key = ?1";
        let known: Option<Option<String>> = self
            .connection
            .prepare_cached(sql)?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if let Some(answer) = known.flatten() {
            self.tally.replayed += 1;
            return Ok(Begun::Answered(answer));
        }
        if let Some(overdraft) = self.tally.budget.refusal(&self.tally.spent) {
            return Ok(Begun::Refused(overdraft));
        }
        if faults().writes_calls_first() {
            self.write_intent(key, model)?;
        }
        Ok(Begun::Make)
    }

    fn write_intent(&mut self, key: &Hash, model: &str) -> Result<(), Fatal> {
        let sql = "INSERT INTO calls (key, model, state, tries) VALUES (?1, ?2, 'intent', 1)
            ON CONFLICT (key) DO UPDATE SET state = 'intent', tries = tries + 1";
        self.connection
            .prepare_cached(sql)?
            .execute(params![key, model])?;
        self.tally.spent.requests += 1;
        Ok(())
    }

    /// Writes an answer and its cost.
    pub(super) fn finish_call(&mut self, call: &Answered) -> Result<(), Fatal> {
        if !faults().writes_calls_first() {
            self.write_intent(&call.key, "")?;
        }
        let sql = "UPDATE calls SET state = 'done', answer = ?2, prompt_tokens = ?3, completion_tokens = ?4, cost = ?5 WHERE key = ?1";
        self.connection.prepare_cached(sql)?.execute(params![
            call.key,
            call.answer,
            call.usage.prompt_tokens,
            call.usage.completion_tokens,
            call.cost,
        ])?;
        self.tally.spent.usage += call.usage;
        self.tally.spent.money = self.tally.spent.money.saturating_add(call.cost);
        Ok(())
    }

    /// Counts a call that ended with an error.
    pub(super) fn fail_call(&mut self, key: &Hash) -> Result<(), Fatal> {
        let sql = "UPDATE calls SET state = 'failed', errors = errors + 1 WHERE key = ?1";
        self.connection.prepare_cached(sql)?.execute([key])?;
        Ok(())
    }

    /// Adds outcomes after those that are there.
    pub(super) fn append(&mut self, rows: &[OutcomeRow]) -> Result<(), Fatal> {
        self.set_complete(false)?;
        let sql = "INSERT INTO outcomes (source_id, draw, kind, stage, code, text_hash, line, dropped_pair, place)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        for row in rows {
            self.write(sql, row)?;
        }
        Ok(())
    }

    /// Puts outcomes in the places of failed ones, which become dead letters.
    pub(super) fn replace(&mut self, rows: &[OutcomeRow]) -> Result<(), Fatal> {
        let bury = "INSERT INTO dead_letters (place, number, source_id, draw, stage, code, line)
            SELECT place, (SELECT count(*) FROM dead_letters AS older WHERE older.place = outcomes.place), source_id, draw, stage, code, line
            FROM outcomes WHERE place = ?1";
        let sql = "UPDATE outcomes SET source_id = ?1, draw = ?2, kind = ?3, stage = ?4, code = ?5, text_hash = ?6, line = ?7, dropped_pair = ?8
            WHERE place = ?9";
        for row in rows {
            self.connection.prepare_cached(bury)?.execute([row.place])?;
            self.write(sql, row)?;
            self.tally.counts.failed -= 1;
        }
        Ok(())
    }

    fn write(&mut self, sql: &str, row: &OutcomeRow) -> Result<(), Fatal> {
        self.connection.prepare_cached(sql)?.execute(params![
            row.source_id,
            row.draw,
            kind_name(row.kind),
            row.stage,
            row.code,
            row.text_hash,
            row.line,
            row.dropped_pair,
            row.place,
        ])?;
        *self.tally.counts.of(row.kind) += 1;
        Ok(())
    }

    pub(super) fn past(&self, query: PastQuery) -> Result<Vec<PastOutcome>, Fatal> {
        let pair = if query.pairs {
            "CASE kind WHEN 'kept' THEN line ELSE dropped_pair END"
        } else {
            "NULL"
        };
        let only = if query.failed {
            "AND kind = 'failed'"
        } else {
            ""
        };
        let sql = format!(
            "SELECT place, source_id, draw, text_hash, {pair} FROM outcomes WHERE place >= ?1 {only} ORDER BY place LIMIT ?2"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![query.from, query.most])?;
        let mut past = Vec::new();
        while let Some(row) = rows.next()? {
            let pair: Option<String> = row.get(4)?;
            let pair = pair.map(|json| serde_json::from_str(&json));
            past.push(PastOutcome {
                place: row.get(0)?,
                source_id: row.get(1)?,
                draw: row.get(2)?,
                text_hash: row.get(3)?,
                pair: pair
                    .transpose()
                    .map_err(|_| Fatal::damaged("a pair in it is not of this version"))?,
            });
        }
        Ok(past)
    }

    pub(super) fn set_budget(&mut self, budget: Budget) -> Result<(), Fatal> {
        let sql = "UPDATE budget SET most_tokens = ?1, most_money = ?2, most_requests = ?3, most_milliseconds = ?4";
        self.connection.execute(
            sql,
            params![
                budget.tokens,
                budget.money,
                budget.requests,
                budget.wall_time.map(milliseconds),
            ],
        )?;
        self.tally.budget = budget;
        Ok(())
    }

    /// Notes whether the whole input was worked on.
    pub(super) fn set_complete(&self, complete: bool) -> Result<(), Fatal> {
        let sql = "INSERT INTO manifest (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2 WHERE value <> ?2";
        self.connection
            .prepare_cached(sql)?
            .execute([COMPLETE, if complete { "true" } else { "false" }])?;
        Ok(())
    }
}

impl Blocking for Tables {
    type Tally = Tally;

    const WHAT: &'static str = "the journal of the run";

    fn begin(&mut self) -> Result<()> {
        self.begin_transaction()
            .map_err(|fatal| fatal.error(&self.path))
    }

    fn commit(&mut self) -> Result<()> {
        self.commit_transaction()
            .map_err(|fatal| fatal.error(&self.path))
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

pub(super) fn is_complete(connection: &Connection) -> Result<bool, Fatal> {
    Ok(manifest_value(connection, COMPLETE)?.is_some_and(|value| value == "true"))
}

pub(super) fn read_budget(connection: &Connection) -> Result<(Spent, Budget), Fatal> {
    let sql = "SELECT prompt_tokens, completion_tokens, money, requests, milliseconds, most_tokens, most_money, most_requests, most_milliseconds FROM budget";
    Ok(connection.query_row(sql, [], |row| {
        let spent = Spent {
            usage: Usage {
                prompt_tokens: row.get(0)?,
                completion_tokens: row.get(1)?,
            },
            money: row.get(2)?,
            requests: row.get(3)?,
            wall_time: Duration::from_millis(row.get(4)?),
        };
        let wall_time: Option<u64> = row.get(8)?;
        let budget = Budget {
            tokens: row.get(5)?,
            money: row.get(6)?,
            requests: row.get(7)?,
            wall_time: wall_time.map(Duration::from_millis),
        };
        Ok((spent, budget))
    })?)
}
