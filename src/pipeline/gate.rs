//! The gate: each side of a pair is assessed by itself, before the two are compared.

use serde::{Deserialize, Serialize};

use crate::{
    outcome::Reason,
    record::{Assessment, Assessments, Safety, Side},
};

/// What each side of a pair must be, by itself.
///
/// A judge that only compares finds the less bad one of two bad answers. So a [`Guard`](crate::Guard) assesses each side
/// first: `chosen` must be found safe, and `rejected` must be found unsafe. What could not be assessed is not kept.
///
/// | reason | why |
/// |---|---|
/// | `chosen_unsafe` | the better side was not found safe, or P(unsafe) is above [`max_chosen`](Self::max_chosen) |
/// | `chosen_refuses` | P(refusal) of the better side is above [`max_refusal`](Self::max_refusal) |
/// | `rejected_safe` | the worse side was not found unsafe, or P(unsafe) is below [`min_rejected`](Self::min_rejected) |
/// | `not_assessed` | the guard's answer about one of them could not be read |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    /// The greatest P(unsafe) of `chosen`, between 0 and 1. By default 0.5.
    pub max_chosen: f64,
    /// The least P(unsafe) of `rejected`, between 0 and 1. By default 0.5.
    pub min_rejected: f64,
    /// The greatest P(refusal) of `chosen`, between 0 and 1. By default 1, which lets any pass.
    pub max_refusal: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            max_chosen: 0.5,
            min_rejected: 0.5,
            max_refusal: 1.0,
        }
    }
}

impl Gate {
    /// Why the two sides make no pair; `None` if they do.
    pub(super) fn refuses(&self, assessments: &Assessments, chosen: Side) -> Option<Reason> {
        let (chosen, rejected) = assessments.sides(chosen == Side::Expert);
        if [chosen, rejected]
            .map(|one| one.safety)
            .contains(&Safety::Unparsed)
        {
            return Some(Reason::new("not_assessed"));
        }
        if !chosen.is_safe(self.max_chosen) {
            let wanted = format!("wanted at most {:.2}", self.max_chosen);
            return Some(because("chosen_unsafe", chosen, &wanted));
        }
        let refuses = |p| !(0.0..=self.max_refusal).contains(&p);
        if chosen.p_refusal.is_some_and(refuses) {
            return Some(Reason::new("chosen_refuses"));
        }
        if !rejected.is_unsafe(self.min_rejected) {
            let wanted = format!("wanted at least {:.2}", self.min_rejected);
            return Some(because("rejected_safe", rejected, &wanted));
        }
        None
    }
}

fn because(code: &'static str, found: &Assessment, wanted: &str) -> Reason {
    let reason = Reason::new(code);
    match found.p_unsafe {
        Some(p) => reason.with_detail(format!("P(unsafe) {p:.2}, {wanted}")),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(p_unsafe: f64) -> Assessment {
        Assessment::from_probability(p_unsafe, 0.5)
    }

    fn code(gate: &Gate, expert: Assessment, other: Assessment, chosen: Side) -> Option<String> {
        let assessments = Assessments { expert, other };
        gate.refuses(&assessments, chosen)
            .map(|reason| reason.code.into_owned())
    }

    #[test]
    fn both_sides_must_be_what_they_should_be() {
        let gate = Gate::default();
        for (expert, other, expected) in [
            (0.1, 0.9, None),
            (0.6, 0.9, Some("chosen_unsafe")),
            (0.1, 0.4, Some("rejected_safe")),
            (0.9, 0.1, Some("chosen_unsafe")),
            (0.1, f64::NAN, Some("not_assessed")),
            (f64::NAN, 0.9, Some("not_assessed")),
        ] {
            let got = code(&gate, found(expert), found(other), Side::Expert);
            assert_eq!(got.as_deref(), expected, "{expert} {other}");
        }
        // The sides change places with the choice.
        assert_eq!(code(&gate, found(0.9), found(0.1), Side::Source), None);
        assert_eq!(code(&gate, found(0.9), found(0.1), Side::Counterpart), None);
    }

    #[test]
    fn verdicts_without_probabilities_count_as_they_stand() {
        let gate = Gate::default();
        let of = |expert, other| {
            let [expert, other] = [expert, other].map(Assessment::new);
            code(&gate, expert, other, Side::Expert)
        };
        assert_eq!(of(Safety::Safe, Safety::Unsafe), None);
        assert_eq!(
            of(Safety::Controversial, Safety::Unsafe).as_deref(),
            Some("chosen_unsafe")
        );
        assert_eq!(
            of(Safety::Safe, Safety::Controversial).as_deref(),
            Some("rejected_safe")
        );
        assert_eq!(
            of(Safety::Unparsed, Safety::Unsafe).as_deref(),
            Some("not_assessed")
        );
        assert_eq!(
            of(Safety::Safe, Safety::Unparsed).as_deref(),
            Some("not_assessed")
        );
    }

    #[test]
    fn a_refusal_is_no_better_side_where_that_is_asked_for() {
        let gate = Gate {
            max_refusal: 0.5,
            ..Gate::default()
        };
        let of = |p| {
            code(
                &gate,
                found(0.1).with_p_refusal(p),
                found(0.9),
                Side::Expert,
            )
        };
        assert_eq!(of(0.5), None);
        for p in [0.51, f64::NAN] {
            assert_eq!(of(p).as_deref(), Some("chosen_refuses"));
        }
        // A limit that is no number lets nothing pass.
        let max_refusal = f64::NAN;
        let gate = Gate {
            max_refusal,
            ..Gate::default()
        };
        let expert = found(0.1).with_p_refusal(0.0);
        let code = code(&gate, expert, found(0.9), Side::Expert);
        assert_eq!(code.as_deref(), Some("chosen_refuses"));
    }
}
