"""Fits the law by which throughput grows with threads, and says how many cores match another device.

The Universal Scalability Law: N threads process X(N) = gamma N / (1 + alpha (N - 1) + beta N (N - 1)) samples a second;
alpha is the contention for what only one thread can have at a time, beta the coherency, what threads cost each other.
Sources: N. J. Gunther, "Guerrilla Capacity Planning" (Springer 2007); N. J. Gunther, "A General Theory of
Computational Scalability Based on Rational Functions" (https://arxiv.org/abs/0808.1431).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit, nnls

from trainbench.results.statistics import CONFIDENCE, Estimate, t_quantile

PARAMETERS: Final = 3
DRAWS: Final = 4000
SEED: Final = 2017

TOLERANCE: Final = 1e-12
MOST_LOG: Final = 100.0

# Where throughput is flat or falls from several threads on, the law fits the better the greater its parameters.
MOST_COST: Final = 100.0

# A parameter that takes less than this share of the throughput at the most threads measured is 0: no clock shows it.
NEGLIGIBLE: Final = 1e-6

# A law that is off by a factor of 2 somewhere describes nothing.
MOST_MISFIT: Final = math.log(2)

Array = NDArray[np.float64]
_Threads = TypeVar("_Threads", float, Array)


@dataclass(frozen=True)
class Point:
    """The throughput, in samples a second, that a cell reached with so many threads."""

    threads: int
    samples_per_second: Estimate


@dataclass(frozen=True)
class Uncertainty:
    """How sure a fit is: the covariance of (log gamma, contention, coherency) and its degrees of freedom."""

    covariance: tuple[tuple[float, ...], ...]
    degrees_of_freedom: int


@dataclass(frozen=True)
class Usl:
    """The law with its parameters.

    `gamma` is the throughput of one thread in samples a second. The law was fitted from `fewest_threads` to
    `most_threads`; `uncertainty` is None where the measurements leave nothing to test the law by.
    """

    gamma: float
    contention: float
    coherency: float
    fewest_threads: int
    most_threads: int
    uncertainty: Uncertainty | None = None

    def throughput(self, threads: float) -> float:
        """Samples a second with so many threads."""
        return self.gamma * threads / _cost(threads, self.contention, self.coherency)

    @property
    def peak_threads(self) -> float | None:
        """With how many threads, not necessarily a whole number, throughput is highest; None if it never falls."""
        if self.contention > 1:
            return 1.0
        if self.coherency == 0:
            return None
        return max(1.0, math.sqrt((1 - self.contention) / self.coherency))

    @property
    def peak_samples_per_second(self) -> float | None:
        """The highest throughput, or the one it grows towards where it never falls; None if it grows without bound."""
        if self.peak_threads is not None:
            return self.throughput(self.peak_threads)
        return self.gamma / self.contention if self.contention else None


@dataclass(frozen=True)
class Fit:
    """The law fitted to measurements, or why there is none.

    `misfit_percent` is by how much law and measurement differ at the point where they differ most.
    """

    law: Usl | None
    reason: str | None = None
    misfit_percent: float | None = None


@dataclass(frozen=True)
class CoreEquivalent:
    """The least number of cores whose throughput matches that of another device, by the law.

    `cores` is None where no number does, and `whole_cores`, which is `cores` rounded up, where no whole number does.
    `low` and `high` bound the 95 % interval. Where more than 2.5 % of the possible laws have no such number, the
    interval is open above (`high_open`) and `high` is None; where more than 97.5 % have none, `low` is None too.
    `matched_share` is the share of possible laws that have one. All of this is None where the fit knows no uncertainty
    or the device has a single run. `extrapolated`: the answer rests on the law beyond the measured thread counts.
    """

    cores: float | None
    whole_cores: int | None
    extrapolated: bool
    low: float | None = None
    high: float | None = None
    high_open: bool = False
    matched_share: float | None = None


@lru_cache(maxsize=4096)  # several tables ask for the same fits
def fit_usl(points: tuple[Point, ...]) -> Fit:
    """Fit the law to throughputs over threads; several points may share a number of threads, unknown ones do not count.

    Least squares on logarithms, because noise is a share of the throughput; the parameters are at least 0. A point
    weighs as much as it has runs, so the fit is that to all single runs. Its variance is the one around the law of all
    single runs or of the points, whichever is greater: the first says more, but not where the law itself is off. With
    three thread counts the law is fitted, but nothing is left to test it by, so no uncertainty is known.
    """
    known = [(point, value) for point in points if (value := point.samples_per_second.value) is not None]
    distinct = len({point.threads for point, _ in known})
    if distinct < PARAMETERS:
        counts = "thread count" if distinct == 1 else "thread counts"
        return Fit(None, f"{distinct} {counts} measured, the law takes at least {PARAMETERS}")
    threads = np.array([point.threads for point, _ in known], dtype=np.float64)
    logs = np.log([value for _, value in known])
    runs = np.array([point.samples_per_second.n for point, _ in known], dtype=np.float64)
    try:
        parameters, covariance = curve_fit(
            _log_throughput,
            threads,
            logs,
            p0=_start(threads, logs),
            sigma=1 / np.sqrt(runs),
            absolute_sigma=True,  # the variance is multiplied in below
            bounds=([-np.inf, 0, 0], np.inf),
            jac=_jacobian,
            # Unlike dogbox it does not circle at a bound, but stops beside it: NEGLIGIBLE does the rest.
            method="trf",
            x_scale="jac",
            ftol=TOLERANCE,
            xtol=TOLERANCE,
            gtol=TOLERANCE,
        )
    except RuntimeError:  # it does not converge
        return _undetermined(threads)
    log_gamma, contention, coherency = parameters.tolist()
    certain = np.isfinite(covariance).all() and (np.diag(covariance) > 0).all()
    if not certain or max(contention, coherency) > MOST_COST:
        return _undetermined(threads)
    residuals = logs - _log_throughput(threads, *parameters)
    misfit = float(np.abs(residuals).max())
    if misfit > MOST_MISFIT:
        return Fit(None, "the measured throughputs do not follow the law: it misses one by more than a factor of 2")
    estimates = [point.samples_per_second for point, _ in known]
    most = int(threads.max())
    law = Usl(
        gamma=math.exp(log_gamma),
        contention=0.0 if contention * (most - 1) < NEGLIGIBLE else contention,
        coherency=0.0 if coherency * most * (most - 1) < NEGLIGIBLE else coherency,
        fewest_threads=int(threads.min()),
        most_threads=most,
        uncertainty=None if distinct == PARAMETERS else _uncertainty(estimates, residuals, covariance),
    )
    return Fit(law, misfit_percent=100 * math.expm1(misfit))


def core_equivalent(law: Usl, samples_per_second: Estimate) -> CoreEquivalent:
    """How many cores, threads of the law, match a device with this throughput.

    Below the throughput of one core the number is the share of one that matches. The interval comes from draws of the
    law's parameters and of the throughput (seeded, so that it is the same every time).

    Raises:
        ValueError: the throughput is unknown.
    """
    target = samples_per_second.value
    if target is None:
        raise ValueError("the core equivalent of an unknown throughput")
    found = float(_least_cores(*(np.array([value]) for value in (law.gamma, law.contention, law.coherency, target)))[0])
    peak = law.peak_threads
    if math.isfinite(found):
        cores, whole = found, max(1, math.ceil(found - NEGLIGIBLE))
        # Past the peak a rounded number can fall short; then all smaller whole numbers do too.
        short = peak is not None and whole > peak and law.throughput(whole) < target * (1 - NEGLIGIBLE)
        whole_cores = None if short else whole
        extrapolated = not law.fewest_threads <= max(found, 1) <= law.most_threads
    else:
        cores, whole_cores, extrapolated = None, None, peak is None or peak > law.most_threads
    draws = _drawn_cores(law, samples_per_second)
    if draws is None:
        return CoreEquivalent(cores, whole_cores, extrapolated)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf").tolist()
    return CoreEquivalent(
        cores,
        whole_cores,
        extrapolated,
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        high_open=not math.isfinite(high),
        matched_share=float(np.isfinite(draws).mean()),
    )


def parameter_bounds(law: Usl) -> tuple[tuple[float, float], ...] | None:
    """The 95 % intervals of gamma, contention and coherency, none below 0; None where no uncertainty is known."""
    if law.uncertainty is None:
        return None
    quantile = t_quantile(law.uncertainty.degrees_of_freedom)
    reach = [quantile * math.sqrt(law.uncertainty.covariance[index][index]) for index in range(PARAMETERS)]
    return (
        (law.gamma * math.exp(-reach[0]), law.gamma * math.exp(reach[0])),
        (max(0.0, law.contention - reach[1]), law.contention + reach[1]),
        (max(0.0, law.coherency - reach[2]), law.coherency + reach[2]),
    )


def _log_throughput(threads: Array, log_gamma: float, contention: float, coherency: float) -> Array:
    return log_gamma + np.log(threads) - np.log(_cost(threads, contention, coherency))


def _jacobian(threads: Array, _: float, contention: float, coherency: float) -> Array:
    cost = _cost(threads, contention, coherency)
    return np.stack([np.ones_like(threads), (1 - threads) / cost, threads * (1 - threads) / cost], axis=1)


def _cost(threads: _Threads, contention: float, coherency: float) -> _Threads:
    return 1 + contention * (threads - 1) + coherency * threads * (threads - 1)


def _start(threads: Array, logs: Array) -> tuple[float, float, float]:
    """The law by linear least squares, near the one on logarithms: N / X(N) is linear in its parameters."""
    # Seconds of one sample times threads, relative to the smallest, so that no unit overflows.
    scale = (np.log(threads) - logs).min()
    with np.errstate(over="ignore"):
        inverse = np.exp(np.log(threads) - logs - scale)
    columns = np.stack([np.ones_like(threads), threads - 1, threads * (threads - 1)], axis=1)
    (base, contention, coherency), _ = nnls(columns / inverse[:, None], np.ones_like(threads))
    if base <= 0:
        return float(-scale), 0.0, 0.0
    return float(-scale - math.log(base)), float(contention / base), float(coherency / base)


def _undetermined(threads: Array) -> Fit:
    advice = "" if threads.min() == 1 else ": measure with one thread too"
    return Fit(None, f"the measured throughputs do not determine the law{advice}")


def _uncertainty(estimates: Sequence[Estimate], residuals: Array, covariance: Array) -> Uncertainty:
    """The variance of single runs around the law, multiplied into the covariance for a variance of 1."""
    runs = np.array([estimate.n for estimate in estimates])
    of_points = float((runs * residuals**2).sum())
    # The squares of a cell's runs around their mean, on logarithms; a single run has no spread.
    of_runs = sum((cell.n - 1) * math.log1p((cell.spread_percent or 0.0) / 100) ** 2 for cell in estimates)
    freedom = int(runs.sum()) - PARAMETERS
    variance = max((of_points + of_runs) / freedom, of_points / (len(estimates) - PARAMETERS))
    return Uncertainty(tuple(map(tuple, (variance * covariance).tolist())), freedom)


def _drawn_cores(law: Usl, samples_per_second: Estimate) -> Array | None:
    """The least number of cores, infinite where there is none, by draws of laws and of the throughput to match."""
    target, spread, runs = samples_per_second.value, samples_per_second.spread_percent, samples_per_second.n
    if law.uncertainty is None or target is None or spread is None:
        return None
    random = np.random.default_rng(SEED)
    normal = random.standard_normal((DRAWS, PARAMETERS))
    freedom = law.uncertainty.degrees_of_freedom
    student = normal * np.sqrt(freedom / random.chisquare(freedom, (DRAWS, 1)))
    covariance = np.array(law.uncertainty.covariance)
    values, vectors = np.linalg.eigh(covariance)
    parameters = np.array([math.log(law.gamma), law.contention, law.coherency])
    drawn = parameters + student @ (vectors * np.sqrt(values.clip(min=0))).T
    log_gamma, contention, coherency = _within_bounds(drawn, covariance).T
    error = math.log1p(spread / 100) / math.sqrt(runs)
    log_targets = math.log(target) + error * random.standard_t(runs - 1, DRAWS)
    # With one degree of freedom some draws lie beyond all numbers.
    gamma, targets = (np.exp(drawn_logs.clip(-MOST_LOG, MOST_LOG)) for drawn_logs in (log_gamma, log_targets))
    return _least_cores(gamma, contention, coherency, targets)


def _within_bounds(drawn: Array, covariance: Array) -> Array:
    """Draws of the parameters, those below 0 replaced by the nearest allowed ones in the metric of the fit.

    That is what the fit itself does with measurements whose best law would have a parameter below 0. Cutting parameters
    off one by one would not: a coherency that rises to 0 takes the contention, which is tied to it, down.
    """
    nearest = drawn.clip(min=[-np.inf, 0, 0])
    if not (np.diag(covariance) > 0).all():
        return nearest
    least = np.full(len(drawn), np.inf)
    for held in ([1], [2], [1, 2]):
        solved = np.linalg.solve(covariance[np.ix_(held, held)], drawn[:, held].T)
        moved = drawn - solved.T @ covariance[held]
        moved[:, held] = 0
        distance = np.where((moved[:, 1:] >= 0).all(axis=1), (drawn[:, held].T * solved).sum(axis=0), np.inf)
        closer = distance < least
        nearest[closer], least[closer] = moved[closer], distance[closer]
    inside = (drawn[:, 1:] >= 0).all(axis=1)
    nearest[inside] = drawn[inside]
    return nearest


def _least_cores(gamma: Array, contention: Array, coherency: Array, target: Array) -> Array:
    """The least number of cores that reaches `target`, infinite where none does.

    With M = N - 1 more cores than one, X(N) = target is a M^2 + b M + c = 0; its smaller root in a form that neither
    cancels nor divides by the a of a law without coherency.
    """
    a = target * coherency
    b = target * (contention + coherency) - gamma
    c = target - gamma
    discriminant = b**2 - 4 * a * c
    # At the very peak both roots are one, and rounding must not lose it.
    touching = np.abs(discriminant) <= 1e-12 * b**2
    root = np.sqrt(np.where(touching | (discriminant < 0), 0.0, discriminant))
    with np.errstate(divide="ignore", invalid="ignore"):
        more = 2 * c / (root - b)
    more = np.where((b < 0) & (touching | (discriminant > 0)), more, np.inf)
    return np.where(c <= 0, target / gamma, 1 + more)
