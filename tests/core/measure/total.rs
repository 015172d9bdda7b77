//! On any input, a figure lies where it must, or there is none; the order of the items does not count.

use proptest::{collection::vec, prelude::*};
use safer_instruct::measure::{
    Bins, Bootstrap, DawidSkene, Estimate, IsotonicRegression, PlattScaling, Proportion,
    Resampling, RoganGladen, Scale, TemperatureScaling, auc, brier_score, calibration_error,
    cohen_kappa, cohens_d, delong, delong_test, distinct_n, gwet_ac1, krippendorff_alpha,
    log_odds_vote, majority_vote, observed_agreement, ppi_mean, top_opening_share, vendi_score,
};

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -2.0..2.0, 2 => (-3_i8..3).prop_map(f64::from), 1 => any::<f64>()]
}

fn shares(figure: Option<f64>) {
    assert!(
        figure.is_none_or(|figure| (-1e-9..=1.0 + 1e-9).contains(&figure)),
        "{figure:?}"
    );
}

fn sound(estimate: Option<Estimate>) {
    let Some(found) = estimate else { return };
    assert!(
        found.low <= found.high && found.variance >= 0.0,
        "{found:?}"
    );
}

proptest! {
    #[test]
    fn scores(items in vec((any_number(), any_number(), any::<bool>()), 0..12), confidence in any_number()) {
        let first: Vec<(f64, bool)> = items.iter().map(|item| (item.0, item.2)).collect();
        let mut reversed = first.clone();
        reversed.reverse();
        shares(auc(&first));
        shares(delong_test(&items, confidence).map(|compared| compared.p));
        prop_assert_eq!(auc(&first).is_some(), auc(&reversed).is_some());
        if let (Some(one), Some(other)) = (auc(&first), auc(&reversed)) {
            prop_assert!((one - other).abs() < 1e-12);
        }
        let opposite: Vec<(f64, bool)> = first.iter().map(|(score, so)| (*score, !so)).collect();
        if let (Some(one), Some(other)) = (auc(&first), auc(&opposite)) {
            prop_assert!((one + other - 1.0).abs() < 1e-12);
        }
        sound(delong(&first, 0.95));
        shares(brier_score(&first));
        for bins in [0, 1, 3, usize::MAX] {
            shares(calibration_error(&first, Bins::EqualWidth(bins)));
            shares(calibration_error(&first, Bins::EqualMass(bins)));
        }
        if let Some(fit) = PlattScaling::fit(&first) {
            shares(Some(fit.apply(0.5)));
        }
        if let Some(fit) = IsotonicRegression::fit(&first) {
            shares(Some(fit.apply(confidence)).filter(|p| !p.is_nan()));
        }
        let logits: Vec<([f64; 2], usize)> =
            items.iter().map(|item| ([item.0, item.1], usize::from(item.2))).collect();
        prop_assert!(TemperatureScaling::fit(&logits).is_none_or(|fit| fit.temperature > 0.0));
    }

    #[test]
    fn ratings(items in vec(vec(0_u8..4, 0..5), 0..12), categories in 0_usize..6) {
        shares(observed_agreement(&items));
        prop_assert!(gwet_ac1(&items, categories).is_none_or(|ac1| (-1.0..=1.0).contains(&ac1)));
        let pairs: Vec<(u8, u8)> =
            items.iter().filter_map(|item| Some((*item.first()?, *item.get(1)?))).collect();
        prop_assert!(cohen_kappa(&pairs).is_none_or(|kappa| kappa <= 1.0));
        let numbers: Vec<Vec<f64>> =
            items.iter().map(|item| item.iter().map(|rating| f64::from(*rating)).collect()).collect();
        for scale in [Scale::Nominal, Scale::Ordinal, Scale::Interval] {
            prop_assert!(krippendorff_alpha(&numbers, scale).is_none_or(|alpha| alpha <= 1.0 + 1e-12));
        }
        shares(top_opening_share(&items, categories));
        shares(distinct_n(&items, 2, Resampling { size: categories, resamples: 3, seed: 1 }));
        let clustered: Vec<(usize, Vec<u8>)> =
            items.iter().enumerate().map(|(n, item)| (n / 2, item.clone())).collect();
        let bootstrap = Bootstrap::new(1).with_resamples(20);
        sound(bootstrap.estimate(&clustered, observed_agreement));
    }

    #[test]
    fn counts(counts in [(0_u64..60, 0_u64..60), (0..60, 0..60), (0..60, 0..60)], confidence in 0.0..1.0) {
        let [a, b, c] = counts.map(|(hits, trials)| Proportion::new(hits, trials));
        if let Some(rate) = a {
            let estimates = [rate.wilson(confidence), rate.clopper_pearson(confidence)];
            for found in estimates.into_iter().flatten() {
                prop_assert!(found.low <= found.value + 1e-12 && found.value <= found.high + 1e-12);
            }
            shares(rate.upper_bound(confidence));
        }
        if let (Some(judged), Some(sensitivity), Some(specificity)) = (a, b, c) {
            let rate = RoganGladen { judged, sensitivity, specificity }.estimate(confidence);
            sound(rate);
            shares(rate.map(|rate| rate.value));
        }
    }

    #[test]
    fn numbers(
        pairs in vec((any_number(), any_number()), 0..9),
        rows in vec(vec(any_number(), 3), 0..9),
        more in vec(any_number(), 0..9),
    ) {
        sound(ppi_mean(&pairs, &more, 0.95).map(|found| found.mean));
        let firsts: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
        prop_assert!(cohens_d(&firsts, &more).is_none_or(f64::is_finite));
        let alpha = krippendorff_alpha(&rows, Scale::Interval);
        prop_assert!(alpha.is_none_or(|alpha| alpha <= 1.0 + 1e-9));
        let most = rows.len().min(3) as f64;
        prop_assert!(vendi_score(&rows).is_none_or(|score| (1.0 - 1e-9..=most + 1e-9).contains(&score)));
    }

    #[test]
    fn votes(votes in vec(vec(prop::option::of(0_usize..4), 3), 0..9), categories in 0_usize..6) {
        if let Some(fit) = DawidSkene::fit(&votes, categories) {
            for row in fit.posteriors.iter().chain(fit.confusion.iter().flatten()) {
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
            shares(fit.accuracy(0));
        }
        let given: Vec<usize> = votes.concat().into_iter().flatten().collect();
        prop_assert!(majority_vote(&given).is_none_or(|vote| given.contains(vote)));
        let weighted = log_odds_vote(given.iter().map(|vote| (vote, 0.7)), categories);
        shares(weighted.map(|found| found.probability));
    }
}
