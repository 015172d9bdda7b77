//! What `tune-judge` prints: how good each head is, in words for people who do not fit judges every day.

use safer_instruct::train::probe::{Comparison, HeadReport, SourceFigure};

/// Prints the figures of a head.
pub(super) fn print(report: &HeadReport) {
    let asks = match report.head.as_str() {
        "harm" => "is the response harmful?",
        "refusal" => "does the response refuse?",
        _ => "which of two responses is better?",
    };
    println!("\n{}: {asks}", report.head);
    let labels = match report.head.as_str() {
        "preference" => format!("{} pairs", report.rows),
        _ => format!("{} labels, {} of them yes", report.rows, report.positives),
    };
    println!("  fitted on {labels}");
    if let Some(compared) = &report.left_out {
        compare(
            report,
            compared,
            "on a source that it was not fitted on, each in turn",
        );
        compared.sources.iter().for_each(source);
        if let Some(mean) = compared.mean_of_sources() {
            println!("    {:<34} {mean:.3}", "mean of the sources");
        }
    }
    compare(
        report,
        &report.folds,
        "on texts that it was not fitted on, of sources that it knows",
    );
    if !report.measured.is_empty() {
        println!(
            "  on sources that are only measured on ({}):",
            report.figure()
        );
        report.measured.iter().for_each(source);
    }
    if !report.curve.is_empty() {
        let points = report
            .curve
            .iter()
            .map(|point| format!("{:.3} with {}", point.value, point.rows));
        let points: Vec<String> = points.collect();
        println!(
            "  with fewer labels: {}, {:.3} with all",
            points.join(", "),
            report.folds.probe.value
        );
    }
    if let Some(gain) = report.gain_of_last_half() {
        if gain >= WORTH {
            println!(
                "  more labels would pay: the second half of them brought {gain:.3}, so {} more should bring about half of \
                 that or more",
                report.rows
            );
        } else {
            println!(
                "  more labels of these sources would bring little: the second half of them brought {gain:.3}; labels of \
                 other sources may"
            );
        }
    }
}

fn source(source: &SourceFigure) {
    println!(
        "    {:<34} {:.3}   {} labels",
        source.name, source.value, source.rows
    );
}

/// The gain that is worth as many labels again.
const WORTH: f64 = 0.01;

fn compare(report: &HeadReport, compared: &Comparison, what: &str) {
    println!("  {what} ({}):", report.figure());
    println!(
        "    {:<34} {:.3}   (95 % between {:.3} and {:.3})",
        "the judge", compared.probe.value, compared.probe.low, compared.probe.high
    );
    for (name, value) in &compared.baselines {
        println!("    {name:<34} {value:.3}");
    }
}
