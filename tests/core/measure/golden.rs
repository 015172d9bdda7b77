//! The figures beside those of scikit-learn, statsmodels and others (`tests/oracle/measure.py`), to 1e-9.

use std::{fmt::Debug, sync::LazyLock};

use safer_instruct::measure::{
    Bins, Bootstrap, DawidSkene, Estimate, IsotonicRegression, PlattScaling, Proportion,
    Resampling, RoganGladen, Scale, TemperatureScaling, auc, brier_score, calibration_error,
    cohen_kappa, cohens_d, delong, delong_test, distinct_n, gwet_ac1, krippendorff_alpha,
    observed_agreement, ppi_mean, vendi_score,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

static GOLDEN: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../golden/measure.json")).unwrap());

fn cases(name: &str) -> &'static [Value] {
    GOLDEN[name].as_array().unwrap()
}

fn read<T: DeserializeOwned>(case: &Value, name: &str) -> T {
    serde_json::from_value(case[name].clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn close(left: f64, right: f64, what: impl Debug) {
    let far = (left - right).abs();
    assert!(
        far <= 1e-9 * right.abs().max(1.0),
        "{what:?}: {left} is not {right}"
    );
}

/// The figure of a case.
fn is(left: impl Into<Option<f64>>, case: &Value, name: &str) {
    close(left.into().unwrap(), read(case, name), name);
}

/// An interval of a case.
fn spans(left: Estimate, case: &Value, name: &str) {
    let [low, high]: [f64; 2] = read(case, name);
    close(left.low, low, name);
    close(left.high, high, name);
}

fn zip<A: Clone, B: Clone>(a: &[A], b: &[B]) -> Vec<(A, B)> {
    assert_eq!(a.len(), b.len());
    a.iter().cloned().zip(b.iter().cloned()).collect()
}

#[test]
fn areas_are_those_of_scikit_learn_and_mlstatkit() {
    for case in cases("roc") {
        let (first, second): (Vec<f64>, Vec<f64>) = (read(case, "first"), read(case, "second"));
        let truth: Vec<bool> = read(case, "truth");
        let areas: [f64; 2] = read(case, "auc");
        let intervals: [[f64; 2]; 2] = read(case, "intervals");
        for (scores, (area, [low, high])) in
            [&first, &second].iter().zip(areas.iter().zip(intervals))
        {
            let items = zip(scores, &truth);
            let estimate = delong(&items, 0.95).unwrap();
            close(auc(&items).unwrap(), *area, "area");
            close(estimate.value, *area, "estimate");
            close(estimate.low, low, "low");
            close(estimate.high, high, "high");
        }
        is(
            delong(&zip(&first, &truth), 0.95).map(|area| area.variance),
            case,
            "variance",
        );
        let both = zip(&zip(&first, &second), &truth);
        let both: Vec<_> = both
            .iter()
            .map(|((a, b), truth)| (*a, *b, *truth))
            .collect();
        let compared = delong_test(&both, 0.95).unwrap();
        close(
            compared.first - compared.second,
            compared.difference.value,
            "difference",
        );
        is(compared.z, case, "z");
        is(compared.p, case, "p");
        is(compared.difference.variance, case, "variance_of_difference");
    }
}

#[test]
fn agreement_is_that_of_scikit_learn_irrcac_and_krippendorff() {
    for case in cases("agreement") {
        let ratings: Vec<Vec<f64>> = read(case, "ratings");
        let grades: Vec<Vec<u64>> = ratings
            .iter()
            .map(|row| row.iter().map(|rating| *rating as u64).collect())
            .collect();
        is(observed_agreement(&grades), case, "observed");
        is(gwet_ac1(&grades, read(case, "categories")), case, "ac1");
        let alphas = [
            (Scale::Nominal, "nominal"),
            (Scale::Ordinal, "ordinal"),
            (Scale::Interval, "interval"),
        ];
        for (scale, name) in alphas {
            is(krippendorff_alpha(&ratings, scale), &case["alpha"], name);
        }
        let pairs: Vec<(f64, f64)> = read(case, "pairs");
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| (*a as u64, *b as u64)).collect();
        is(cohen_kappa(&pairs), case, "kappa");
    }
}

#[test]
fn resamples_are_those_of_numpy() {
    let case = &GOLDEN["bootstrap"];
    let items = zip::<u32, f64>(
        &read::<Vec<_>>(case, "clusters"),
        &read::<Vec<_>>(case, "values"),
    );
    let bootstrap = Bootstrap::new(read(case, "seed"))
        .with_resamples(read(case, "resamples"))
        .with_confidence(0.9);
    let mean = |values: &[f64]| Some(values.iter().sum::<f64>() / values.len() as f64);
    let estimate = bootstrap.estimate(&items, mean).unwrap();
    is(estimate.value, case, "mean");
    is(estimate.variance, case, "variance");
    spans(estimate, case, "interval");
}

#[test]
fn rates_are_those_of_statsmodels() {
    for case in cases("rates") {
        let rate = Proportion::new(read(case, "hits"), read(case, "trials")).unwrap();
        let confidence = read(case, "confidence");
        spans(rate.wilson(confidence).unwrap(), case, "wilson");
        spans(rate.clopper_pearson(confidence).unwrap(), case, "exact");
        is(rate.upper_bound(confidence), case, "upper");
    }
}

#[test]
fn corrected_rates_are_those_of_the_formulas_and_of_ppi_python() {
    for case in cases("rogan_gladen") {
        let share = |name| {
            let (hits, trials) = read(case, name);
            Proportion::new(hits, trials).unwrap()
        };
        let rate = RoganGladen {
            judged: share("judged"),
            sensitivity: share("sensitivity"),
            specificity: share("specificity"),
        };
        let rate = rate.estimate(0.95).unwrap();
        is(rate.value, case, "value");
        is(rate.variance, case, "variance");
        spans(rate, case, "interval");
    }
    for case in cases("ppi") {
        let known: Vec<(f64, f64)> = read(case, "known");
        let found = ppi_mean(&known, &read::<Vec<f64>>(case, "predicted"), 0.95).unwrap();
        assert!(found.lambda > 0.0 && found.lambda < 1.0);
        is(found.mean.value, case, "value");
        spans(found.mean, case, "interval");
    }
}

#[test]
fn calibration_is_that_of_scikit_learn_statsmodels_and_scipy() {
    let case = &GOLDEN["calibration"];
    let truth: Vec<bool> = read(case, "truth");
    let items = zip(&read::<Vec<f64>>(case, "probabilities"), &truth);
    is(brier_score(&items), case, "brier");
    is(
        calibration_error(&items, Bins::EqualWidth(10)),
        case,
        "equal_width",
    );
    is(
        calibration_error(&items, Bins::EqualMass(10)),
        case,
        "equal_mass",
    );

    let platt = PlattScaling::fit(&zip(&read::<Vec<f64>>(case, "scores"), &truth)).unwrap();
    is(platt.slope, &case["platt"], "slope");
    is(platt.intercept, &case["platt"], "intercept");

    let curve = IsotonicRegression::fit(&zip(&read::<Vec<f64>>(case, "crowded"), &truth)).unwrap();
    let answers: Vec<f64> = read(case, "isotonic");
    for (score, right) in zip(&read::<Vec<f64>>(case, "ask"), &answers) {
        close(curve.apply(score), right, ("isotonic", score));
    }

    let logits: Vec<[f64; 3]> = read(case, "logits");
    let scaling = TemperatureScaling::fit(&zip(&logits, &read::<Vec<usize>>(case, "categories")));
    is(
        scaling.map(|scaling| scaling.temperature),
        case,
        "temperature",
    );
}

#[test]
fn diversity_is_that_of_the_vendi_package_and_scipy() {
    let case = &GOLDEN["diversity"];
    let texts: Vec<Vec<u32>> = read(case, "texts");
    let resampling = Resampling {
        size: read(case, "size"),
        resamples: read(case, "resamples"),
        seed: read(case, "seed"),
    };
    is(
        distinct_n(&texts, read(case, "n"), resampling),
        case,
        "distinct",
    );
    let [first, second]: [Vec<f64>; 2] = read(case, "lengths");
    is(cohens_d(&first, &second), case, "d");
    let embeddings: [Vec<Vec<f64>>; 2] = read(case, "embeddings");
    for (rows, right) in embeddings.iter().zip(read::<[f64; 2]>(case, "vendi")) {
        close(vendi_score(rows).unwrap(), right, "vendi");
    }
}

#[test]
fn the_jury_is_that_of_crowd_kit() {
    let case = &GOLDEN["jury"];
    let votes: Vec<Vec<Option<usize>>> = read(case, "votes");
    let fit = DawidSkene::fit(&votes, read(case, "categories")).unwrap();
    assert!(fit.converged, "{} rounds", fit.iterations);
    let pairs = |left: &[f64], right: &[f64], what: &str| {
        assert_eq!(left.len(), right.len());
        for (left, right) in left.iter().zip(right) {
            close(*left, *right, what);
        }
    };
    pairs(
        &fit.prevalence,
        &read::<Vec<f64>>(case, "prevalence"),
        "prevalence",
    );
    let tables: Vec<Vec<Vec<f64>>> = read(case, "confusion");
    pairs(
        &fit.confusion.concat().concat(),
        &tables.concat().concat(),
        "confusion",
    );
    let posteriors: Vec<Vec<f64>> = read(case, "posteriors");
    pairs(&fit.posteriors.concat(), &posteriors.concat(), "posteriors");
}
