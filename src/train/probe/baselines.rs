//! What a judge must beat beside n-grams of words: the length, and a rule for refusals.

use super::task::Task;
use crate::{filters::Refusals, learn::Dense};

/// One number for each text: its length, as the logarithm of its characters.
pub(super) fn length(task: &Task<'_>) -> Dense {
    of_numbers(task, |text| (1.0 + text.chars().count() as f32).ln())
}

/// One number for each text: 1 if a phrase of a refusal stands in it.
pub(super) fn refusal_rule(task: &Task<'_>) -> Dense {
    let refusals = Refusals::built_in();
    of_numbers(task, |text| {
        f32::from(u8::from(refusals.read(text).refuses))
    })
}

fn of_numbers(task: &Task<'_>, number: impl Fn(&str) -> f32) -> Dense {
    let values = task.rows.iter().map(|row| {
        let numbers = row.texts.iter().map(|text| number(text));
        numbers
            .zip([1.0, -1.0])
            .map(|(number, sign)| number * sign)
            .sum()
    });
    Dense {
        width: 1,
        values: values.collect(),
    }
}
