"""What §2.3.1, §2.4 and SM D say of ensembles of networks, from records.

Sampling intervals are of M networks' mean (Student's t) and standard deviation (chi squared), 99 %
each at every point of the path and step on its own.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, stdtrit

from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Estimate, Sample, bootstrap
from ntkrepro.records.store import Record
from ntkrepro.records.tables import select, table

LEVEL = 0.99


class Members(NamedTuple):
    """Outputs along the path x(alpha): alpha [points], steps [t], networks [t, members, points]."""

    alpha: np.ndarray
    steps: np.ndarray
    networks: np.ndarray


def members(record: Record) -> Members:
    alpha = select(record, "data", "alpha", "path")["value"].to_numpy()
    outputs = table(record, "network", "output", "path").to_numpy()
    steps = np.unique(select(record, "network", "output", "path")["step"])
    return Members(alpha, steps, outputs.reshape(len(steps), -1, len(alpha)))


def process(record: Record, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [t, points] of a Gaussian process."""
    mean, std = (table(record, name, quantity, "path").to_numpy() for quantity in ("mean", "std"))
    return mean, std


def inside(networks: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Whether mean and std [.., points] lie in both intervals of networks [.., M, points]: 1 or 0,
    or not a number where one of them isn't.

    Where neither the networks nor the process vary, rounding alone decides: their means within 1e-3
    count as equal.
    """
    m, tail = networks.shape[-2], (1 - LEVEL) / 2
    seen, spread = networks.mean(-2), networks.std(-2, ddof=1)
    half = stdtrit(m - 1, 1 - tail) * spread / np.sqrt(m)
    low, high = (spread * np.sqrt((m - 1) / chdtri(m - 1, q)) for q in (tail, 1 - tail))
    good = (np.abs(seen - mean) <= half) & (low <= std) & (std <= high)
    fixed = (std < 1e-3) & (spread < 1e-3) & (np.abs(seen - mean) < 1e-3)
    return np.where(np.isfinite(mean + std + seen + spread), good | fixed, np.nan)


def share(good: np.ndarray) -> Estimate:
    """Share of points [points] and its 95 % bootstrap interval over points."""
    return Estimate(float(good.mean()), bootstrap(lambda items: good[items].mean(-1), len(good)))


def path(seen: Members) -> Sample:
    """What a share's interval is of."""
    return Sample(len(seen.alpha), "points of the path")


def starts_at_the_prior(record: Record) -> Claim:
    """3a: share of the path where the process's std at t = 0 is in the networks' interval."""
    seen, (mean, std) = members(record), process(record, "ntk_analytic")
    spread = 2 * std[0].mean(), 2 * seen.networks[0].std(0, ddof=1).mean()
    found = "2σ = {:.3f}, of the networks {:.3f}".format(*spread)
    good = share(inside(seen.networks[0], mean[0], std[0]))
    return judged("3a", good, [record], found=found, sample=path(seen))


def follows(record: Record, name: str, claim: str) -> Claim:
    """3b, 3d: share of the path inside both intervals, at the step after 0 where it is least."""
    seen, (mean, std) = members(record), process(record, name)
    good = inside(seen.networks[1:], mean[1:], std[1:])
    worst = int(good.mean(1).argmin())
    found = f"the least at step {seen.steps[1 + worst]}"
    return judged(claim, share(good[worst]), [record], found=found, sample=path(seen))


def posterior_differs(record: Record) -> Claim:
    """3c: share of the path where the NNGP posterior is outside the trained networks' intervals."""
    seen, (mean, std) = members(record), process(record, "nngp_posterior")
    out = share(1 - inside(seen.networks[-1], mean[-1], std[-1]))
    return judged("3c", out, [record], sample=path(seen))


def claims(records: list[Record]) -> list[Claim]:
    by = {record.config["optimizer"].get("train", "all"): record for record in records}
    out = []
    if "all" in by:
        out += [
            starts_at_the_prior(by["all"]),
            follows(by["all"], "ntk_analytic", "3b"),
            posterior_differs(by["all"]),
        ]
    if "readout" in by:
        out.append(follows(by["readout"], "nngp", "3d"))
    return out
