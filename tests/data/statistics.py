#!/usr/bin/env python3
"""Asks numpy and scipy what the statistics module is held against.

    python3 tests/data/statistics.py > tests/data/statistics.json

With another --seed, the data and the resamples are others.
"""

import argparse
import json

import numpy
import scipy.stats

DRAWN = 100_000
# What is written of either end of a bootstrap distribution: quantiles at every
# 0.0005 up to this share.
END = 0.05
PLACES = 101


def series(random):
    """Times as they are: name and values, in the order of time."""
    for count in (6, 7, 10, 31, 50, 200):
        yield f"normal {count}", random.normal(100, 3, count)
    for count in (10, 30, 51):
        tail = numpy.exp(random.normal(0, 0.1, count)) * 100
        tail[random.random(count) < 0.05] *= 1.5
        yield f"disturbed {count}", tail
    yield "bimodal 40", numpy.where(random.random(40) < 0.4, 120, 100) + random.normal(0, 2, 40)
    yield "quantised 30", numpy.round(random.normal(20, 1.5, 30))
    yield "drift 60", 100 + numpy.arange(60) * 0.2 + random.normal(0, 2, 60)
    yield "warm-up 40", numpy.where(numpy.arange(40) < 5, 130, 100) + random.normal(0, 2, 40)


def quantiles(values, statistic, random):
    """Both ends of a bootstrap distribution, the outermost values first."""
    result = scipy.stats.bootstrap(
        (values,), statistic, method="percentile", n_resamples=DRAWN, vectorized=True, rng=random
    )
    places = numpy.linspace(0, END, PLACES)
    ends = [numpy.quantile(result.bootstrap_distribution, it) for it in (places, 1 - places)]
    return [[float(f"{it:.9g}") for it in end] for end in ends]


def answers(name, values, random):
    values = numpy.array([float(f"{it:.9g}") for it in values])
    low, high = numpy.quantile(values, [0.25, 0.75])
    away = numpy.maximum(numpy.maximum(values - high, low - values), 0) / max(high - low, 1e-300)
    tau = scipy.stats.kendalltau(numpy.arange(len(values)), values, method="asymptotic")
    return {
        "name": name,
        "values": list(values),
        "median": numpy.median(values),
        "mean": numpy.mean(values),
        "deviation": numpy.std(values, ddof=1),
        "p95": numpy.quantile(values, 0.95),
        "quartiles": [low, high],
        "far": int((away > 3).sum()),
        "mild": int(((away > 1.5) & (away <= 3)).sum()),
        "kendall_tau": tau.statistic,
        "kendall_p": tau.pvalue,
        "theil_slope": scipy.stats.theilslopes(values).slope,
        "bootstrap_medians": quantiles(values, numpy.median, random),
        "bootstrap_means": quantiles(values, numpy.mean, random),
    }


def tails():
    """Hesterberg's expanded tails."""
    for confidence in (0.9, 0.95, 0.99):
        for count in (10, 30, 100):
            t = scipy.stats.t.ppf((1 - confidence) / 2, count - 1)
            tail = scipy.stats.norm.cdf(t * numpy.sqrt(count / (count - 1)))
            yield {"confidence": confidence, "count": count, "tail": tail}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20261121)
    random = numpy.random.default_rng(parser.parse_args().seed)
    every = [answers(name, values, random) for name, values in series(random)]
    versions = {"numpy": numpy.__version__, "scipy": scipy.__version__}
    print(json.dumps({"versions": versions, "tails": list(tails()), "series": every}))


if __name__ == "__main__":
    main()
