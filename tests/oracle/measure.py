"""The figures of `src/measure` by other people's code: prints `tests/golden/measure.json`.

    python3.11 -m venv target/measure && target/measure/bin/pip install -r tests/oracle/measure_requirements.txt
    target/measure/bin/pip install --no-deps irrCAC==0.4.4 crowd-kit==1.4.2
    target/measure/bin/python -W ignore tests/oracle/measure.py > tests/golden/measure.json

The two of the second line name dependencies that they do not need for this. The golden file was made by Python 3.11,
numpy 1.26.4, scipy 1.12.0, scikit-learn 1.9.1, statsmodels 0.15.0, pandas 2.3.3, krippendorff 0.9.0, irrCAC 0.4.4,
MLstatkit 0.1.91, ppi-python 0.2.3, vendi-score 0.0.3 and crowd-kit 1.4.2. Where there is no package for a figure, it is
computed here from its definition, in another way than in the crate.
"""

import json
import sys

import krippendorff
import numpy as np
import pandas as pd
import statsmodels.api as sm
from crowdkit.aggregation.classification.dawid_skene import DawidSkene
from irrCAC.raw import CAC
from MLstatkit import Delong_test
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
from scipy import optimize, special, stats
from sklearn.calibration import _sigmoid_calibration, calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, cohen_kappa_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint
from vendi_score import vendi

RANDOM = np.random.default_rng(20_261_129)
MASK = 2**64 - 1


def split_mix(seed):
    """SplitMix64, as numbers below a bound."""
    state = seed

    def below(bound):
        nonlocal state
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        return (z * bound) >> 64

    return below


def close(left, right, tolerance=1e-9):
    """Two ways to the same figure: what is written down is sure."""
    assert np.allclose(left, right, rtol=tolerance, atol=tolerance), (left, right)


def rounded(values, digits):
    return [round(float(value), digits) for value in values]


def roc():
    cases = []
    for n, digits in [(40, 1), (200, 3), (25, 0)]:
        truth = RANDOM.random(n) < 0.4
        first = rounded(truth + RANDOM.normal(0, 1, n), digits)
        second = rounded(0.5 * truth + 0.5 * np.array(first) + RANDOM.normal(0, 1, n), digits)
        z, p, ci_first, ci_second, auc_first, auc_second, info = Delong_test(truth.astype(int), first, second)
        assert info["method"] == "delong"
        close(auc_first, roc_auc_score(truth, first))
        # The placements by all pairs.
        x, y = np.array(first)[truth], np.array(first)[~truth]
        wins = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
        variance = wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / len(y)
        reach = stats.norm.ppf(0.975) * variance**0.5
        close(ci_first, np.clip([auc_first - reach, auc_first + reach], 0, 1))
        cases.append(
            {
                "first": first,
                "second": second,
                "truth": truth.tolist(),
                "auc": [auc_first, auc_second],
                "variance": variance,
                "intervals": [ci_first, ci_second],
                # The package takes the first from the second.
                "z": -z,
                "p": p,
                "variance_of_difference": info["var_diff"],
            }
        )
    return cases


def agreement():
    cases = []
    for items, judges, grades, missing in [(60, 2, 2, 0.0), (80, 3, 4, 0.2), (30, 5, 3, 0.5)]:
        truth = RANDOM.integers(0, grades, items)
        ratings = np.where(
            RANDOM.random((items, judges)) < 0.7, truth[:, None], RANDOM.integers(0, grades, (items, judges))
        ).astype(float)
        ratings[RANDOM.random((items, judges)) < missing] = np.nan
        ratings = ratings[~np.isnan(ratings).all(1)]
        # Unequal steps tell the ordinal from the interval scale.
        ratings = np.where(np.isnan(ratings), np.nan, ratings**2)
        ac1 = CAC(pd.DataFrame(ratings), categories=[float(k * k) for k in range(grades)], digits=15).gwet()["est"]
        alpha = {
            scale: krippendorff.alpha(ratings.T, level_of_measurement=scale)
            for scale in ["nominal", "ordinal", "interval"]
        }
        full = ratings[~np.isnan(ratings[:, :2]).any(1)][:, :2]
        cases.append(
            {
                "ratings": [[rating for rating in row if not np.isnan(rating)] for row in ratings.tolist()],
                "categories": grades,
                "observed": float(ac1["pa"]),
                "ac1": float(ac1["coefficient_value"]),
                "alpha": alpha,
                "pairs": full.tolist(),
                "kappa": cohen_kappa_score(full[:, 0].astype(int), full[:, 1].astype(int)),
            }
        )
    return cases


def bootstrap():
    clusters = RANDOM.integers(0, 12, 60)
    values = rounded(RANDOM.normal(0, 1, 60) + clusters, 3)
    groups = [[value for value, at in zip(values, clusters) if at == cluster] for cluster in np.unique(clusters)]
    below, means = split_mix(77), []
    for _ in range(500):
        means.append(np.mean(np.concatenate([groups[below(len(groups))] for _ in groups])))
    return {
        "clusters": clusters.tolist(),
        "values": values,
        "seed": 77,
        "resamples": 500,
        "mean": np.mean(values),
        "variance": np.var(means, ddof=1),
        "interval": np.quantile(means, [0.05, 0.95]).tolist(),
    }


def rates():
    cases = []
    for hits, trials in [(0, 12), (1, 300), (8, 100), (50, 100), (100, 100), (123, 20_000), (19_990, 20_000)]:
        for confidence in [0.9, 0.95, 0.999]:
            interval = {
                name: list(map(float, proportion_confint(hits, trials, 1 - confidence, method)))
                for name, method in [("wilson", "wilson"), ("exact", "beta")]
            }
            upper = 1.0 if hits == trials else stats.beta.ppf(confidence, hits + 1, trials - hits)
            cases.append({"hits": hits, "trials": trials, "confidence": confidence, "upper": upper} | interval)
    return cases


def rogan_gladen():
    cases = []
    for judged, sensitivity, specificity in [
        ((2_640, 20_000), (170, 200), (186, 200)),
        ((12, 150), (48, 50), (60, 75)),
        ((900, 1_000), (95, 100), (99, 100)),
    ]:
        # The variance by the delta method: numerical slopes of the corrected rate.
        (p, n), (s, m), (t, l) = ((k / of, of) for k, of in (judged, sensitivity, specificity))
        rate = lambda x: (x[0] + x[2] - 1) / (x[1] + x[2] - 1)
        slopes = optimize.approx_fprime(np.array([p, s, t]), rate, 1e-7)
        by_slopes = sum(g**2 * q * (1 - q) / k for g, q, k in zip(slopes, (p, s, t), (n, m, l)))
        true = rate([p, s, t])
        parts = p * (1 - p) / n, true**2 * s * (1 - s) / m, (1 - true) ** 2 * t * (1 - t) / l
        variance = sum(parts) / (s + t - 1) ** 2
        close(by_slopes, variance, 1e-4)
        # Lang and Reiczigel 2014.
        z = stats.norm.ppf(0.975)
        n, p = n + z**2, (judged[0] + z**2 / 2) / (n + z**2)
        m, s = m + 2, (sensitivity[0] + 1) / (m + 2)
        l, t = l + 2, (specificity[0] + 1) / (l + 2)
        centre = (p + t - 1) / (s + t - 1)
        parts = p * (1 - p) / n, centre**2 * s * (1 - s) / m, (1 - centre) ** 2 * t * (1 - t) / l
        error = sum(parts) ** 0.5 / (s + t - 1)
        shift = 2 * z**2 * (centre * s * (1 - s) / m - (1 - centre) * t * (1 - t) / l)
        interval = np.clip([centre + shift - z * error, centre + shift + z * error], 0, 1)
        value = rate([k / of for k, of in (judged, sensitivity, specificity)])
        cases.append(
            {
                "judged": judged,
                "sensitivity": sensitivity,
                "specificity": specificity,
                "value": min(max(value, 0.0), 1.0),
                "variance": variance,
                "interval": interval.tolist(),
            }
        )
    return cases


def ppi():
    cases = []
    for n, count, noise in [(50, 400, 0.3), (120, 150, 1.0), (30, 90, 8.0)]:
        truth = RANDOM.normal(1, 1, n)
        known = np.round(truth, 3), np.round(truth + RANDOM.normal(0.4, noise, n), 3)
        predicted = np.round(RANDOM.normal(1.4, (1 + noise**2) ** 0.5, count), 3)
        low, high = ppi_mean_ci(*known, predicted, alpha=0.05)
        value = ppi_mean_pointestimate(*known, predicted)
        cases.append(
            {
                "known": np.stack(known, 1).tolist(),
                "predicted": predicted.tolist(),
                "value": float(np.squeeze(value)),
                "interval": [float(np.squeeze(low)), float(np.squeeze(high))],
            }
        )
    return cases


def expected_error(truth, probabilities, strategy):
    rates, means = calibration_curve(truth, probabilities, n_bins=10, strategy=strategy)
    edges = np.linspace(0, 1, 11)
    edges = edges if strategy == "uniform" else np.percentile(probabilities, edges * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], probabilities), minlength=10)
    counts = counts[counts > 0]
    return float(np.sum(counts * np.abs(rates - means)) / len(truth))


def calibration():
    n = 101
    scores = np.array(rounded(RANDOM.normal(0, 2, n), 4))
    assert len(set(scores)) == n
    truth = RANDOM.random(n) < special.expit(0.6 * scores - 0.5)
    probabilities = np.array(rounded(special.expit(scores), 6))
    positives, negatives = truth.sum(), (~truth).sum()
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    family = sm.families.Binomial()
    fit = sm.GLM(targets, sm.add_constant(scores), family=family).fit(tol=1e-15, maxiter=100)
    a, b = _sigmoid_calibration(scores, truth.astype(int))
    close([-b, -a], fit.params, 1e-3)
    crowded = rounded(scores, 0)
    ask = np.linspace(-6, 6, 41)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(crowded, truth.astype(float)).predict(ask)
    logits = np.round(RANDOM.normal(0, 3, (80, 3)), 4)
    categories = np.array([RANDOM.choice(3, p=special.softmax(row / 2)) for row in logits])
    loss = lambda t: -np.sum(special.log_softmax(logits / t, 1)[np.arange(80), categories])
    slope = lambda c: np.sum((special.softmax(logits * c, 1) * logits).sum(1) - logits[np.arange(80), categories])
    temperature = 1 / optimize.brentq(slope, 1e-3, 10, xtol=1e-15, rtol=1e-15)
    close(temperature, optimize.minimize_scalar(loss, bounds=(0.1, 20), method="bounded").x, 1e-4)
    return {
        "scores": scores.tolist(),
        "truth": truth.tolist(),
        "probabilities": probabilities.tolist(),
        "brier": brier_score_loss(truth, probabilities),
        "equal_width": expected_error(truth, probabilities, "uniform"),
        "equal_mass": expected_error(truth, probabilities, "quantile"),
        "platt": {"slope": fit.params[1], "intercept": fit.params[0]},
        "crowded": crowded,
        "ask": ask.tolist(),
        "isotonic": isotonic.tolist(),
        "logits": logits.tolist(),
        "categories": categories.tolist(),
        "temperature": temperature,
    }


def diversity():
    texts = [RANDOM.integers(0, 6, RANDOM.integers(2, 9)).tolist() for _ in range(15)]
    below, order, shares = split_mix(5), list(texts), []
    for _ in range(30):
        for last in range(len(order) - 1, 0, -1):
            other = below(last + 1)
            order[last], order[other] = order[other], order[last]
        grams = [tuple(text[at : at + 2]) for text in order for at in range(len(text) - 1)][:25]
        shares.append(len(set(grams)) / 25)
    first, second = rounded(RANDOM.normal(120, 30, 40), 1), rounded(RANDOM.normal(90, 20, 25), 1)
    t = stats.ttest_ind(first, second).statistic
    wide, tall = np.round(RANDOM.normal(0.3, 1, (12, 30)), 3), np.round(RANDOM.normal(0.3, 1, (50, 8)), 3)
    return {
        "texts": texts,
        "n": 2,
        "size": 25,
        "resamples": 30,
        "seed": 5,
        "distinct": np.mean(shares),
        "lengths": [first, second],
        "d": t * (1 / 40 + 1 / 25) ** 0.5,
        "embeddings": [wide.tolist(), tall.tolist()],
        "vendi": [vendi.score_X(wide), vendi.score_X(tall)],
    }


def jury():
    items, judges, categories = 150, 5, 3
    truth = RANDOM.choice(categories, items, p=[0.5, 0.3, 0.2])
    tables = [0.35 * np.full((3, 3), 1 / 3) * k + np.eye(3) * (1 - 0.35 * k) for k in (0.8, 1.0, 1.4, 1.7, 2.2)]
    votes = [
        [int(RANDOM.choice(categories, p=table[true])) if RANDOM.random() < 0.85 else None for table in tables]
        for true in truth
    ]
    rows = [(at, judge, vote) for at, row in enumerate(votes) for judge, vote in enumerate(row) if vote is not None]
    data = pd.DataFrame(rows, columns=["task", "worker", "label"])
    # Many rounds, so that both have come to the end.
    fit = DawidSkene(n_iter=1_500, tol=-1.0).fit(data)
    shares = lambda judge, true: [fit.errors_.loc[(judge, said), true] for said in range(3)]
    errors = [[shares(judge, true) for true in range(3)] for judge in range(judges)]
    assert np.min(errors) > 1e-6, "where the package clips nothing"
    return {
        "votes": votes,
        "categories": categories,
        "prevalence": [fit.priors_.loc[k] for k in range(3)],
        "confusion": errors,
        "posteriors": fit.probas_.reindex(range(items))[[0, 1, 2]].to_numpy().tolist(),
    }


def plain(value):
    return value.item() if isinstance(value, np.generic) else value.tolist()


PARTS = [roc, agreement, bootstrap, rates, rogan_gladen, ppi, calibration, diversity, jury]
golden = {part.__name__: part() for part in PARTS}
texts = (json.dumps(value, default=plain, separators=(",", ":")) for value in golden.values())
lines = (f'"{name}": {text}' for name, text in zip(golden, texts))
sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
