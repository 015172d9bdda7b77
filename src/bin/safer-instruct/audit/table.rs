//! The figures of a set of pairs, for people.

use std::{collections::BTreeMap, path::Path};

use safer_instruct::{
    audit::{PairFigures, SideFigures, TextFigures},
    measure::{Estimate, Proportion},
};

use crate::run::layout;

/// Prints the figures.
pub(super) fn print(figures: &PairFigures, path: &Path) {
    let pairs = figures.pairs;
    println!("{pairs} pairs of {}", path.display());
    if figures.sampled < pairs {
        println!(
            "Figures of texts are of {} of them, drawn at random.",
            figures.sampled
        );
    }
    let warnings = figures.warnings();
    if !warnings.is_empty() {
        println!();
    }
    for warning in warnings {
        println!("  ! {warning}");
    }
    if pairs == 0 {
        return;
    }
    println!(
        "\n{:<42}{:>12}{:>12}{:>12}",
        "texts", "prompt", "chosen", "rejected"
    );
    row(figures, "words: one in twenty has at most", |of| {
        words(of, |words| words.low)
    });
    row(figures, "words: median", |of| {
        words(of, |words| words.median)
    });
    row(figures, "words: one in twenty has at least", |of| {
        words(of, |words| words.high)
    });
    row(figures, "share of the most frequent text", |of| {
        share(of.top_share)
    });
    row(figures, "share of the most frequent opening", |of| {
        share(of.top_opening_share)
    });
    row(figures, "distinct pairs of words, of 1,000", |of| {
        number(of.distinct_2)
    });
    row(figures, "texts that refuse, by phrases", |of| {
        share(of.refuses.map(|found| found.rate()))
    });
    if let Some(opening) = &figures.chosen.top_opening {
        println!("{}", layout::line("opening", opening, layout::width()));
    }
    println!();
    if let (Some(d), Some(longer)) = (figures.length.cohens_d, figures.length.chosen_longer) {
        println!(
            "length: chosen less rejected is {d:.2} standard deviations; chosen is longer in {}",
            percent(longer.rate())
        );
    }
    let told = &figures.told_apart;
    println!(
        "how easily chosen is told from rejected (AUC of {} pairs; .5 is not at all, 1 always), by",
        told.pairs
    );
    for (name, area) in [
        ("length", told.length),
        ("phrases of refusals", told.refusal_rule),
        ("words and pairs of words", told.n_grams),
    ] {
        println!("  {name:<40}{}", estimate(area));
    }
    println!();
    side("chosen", &figures.chosen_side, figures.labels > 0);
    side("rejected", &figures.rejected_side, figures.labels > 0);
    let order = &figures.order;
    if order.judged > 0 {
        println!(
            "verdicts: {} of {} changed with the order of the responses; {} are for the first one",
            order.flipped,
            order.judged,
            percent(order.first_preferred as f64 / order.judged as f64)
        );
    }
    println!("languages: {}", counts(&figures.languages));
    if figures.categories.keys().any(|name| name != "none") {
        println!("categories: {}", counts(&figures.categories));
    }
}

fn row(figures: &PairFigures, name: &str, cell: impl Fn(&TextFigures) -> String) {
    let [prompt, chosen, rejected] = figures.columns().map(|(_, of)| cell(of));
    println!("  {name:<40}{prompt:>12}{chosen:>12}{rejected:>12}");
}

fn words(of: &TextFigures, pick: impl Fn(&safer_instruct::audit::WordCounts) -> usize) -> String {
    of.words
        .as_ref()
        .map_or("-".to_owned(), |words| pick(words).to_string())
}

fn side(name: &str, figures: &SideFigures, labelled: bool) {
    if let Some(found) = figures.found_unsafe {
        let mean = figures
            .mean_p_unsafe
            .map_or(String::new(), |mean| format!("; mean P(unsafe) {mean:.2}"));
        println!("{name}: the guard finds {} unsafe{mean}", of(found));
    } else {
        println!("{name}: no guard has assessed it");
    }
    match (figures.labelled_harmful, figures.harmful) {
        (Some(found), Some(rate)) => println!(
            "  people find {} of the labelled ones harmful; of all, {} (95 %: {} to {})",
            of(found),
            percent(rate.value),
            percent(rate.low),
            percent(rate.high)
        ),
        _ if labelled => println!("  no label is of this side"),
        _ => println!("  not corrected: there are no labels of people"),
    }
}

fn of(found: Proportion) -> String {
    format!("{} of {}", found.hits(), found.trials())
}

fn estimate(area: Option<Estimate>) -> String {
    area.map_or("too few pairs".to_owned(), |area| {
        format!(
            "{:.3} (95 %: {:.3} to {:.3})",
            area.value, area.low, area.high
        )
    })
}

fn share(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), percent)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

fn counts(counts: &BTreeMap<String, usize>) -> String {
    let mut counts: Vec<(&String, &usize)> = counts.iter().collect();
    counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(name, count)| format!("{} {count}", layout::shown(name)))
        .collect();
    counts.join(", ")
}
