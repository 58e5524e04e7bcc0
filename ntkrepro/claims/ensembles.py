"""What §2.3.1, §3.2 and SM D say of ensembles of networks, from records.

How far an ensemble is from a Gaussian process at a step is gaussian_process.distance of their means
and standard deviations along the path, over that of the two processes, NTK and NNGP, from each
other: below 1/2 it is nearer to the one than to the other.

It is a distance, so that an ensemble of M networks is nearer or further than one of infinitely many
by at most what is between these two. For draws of the process this `noise`, the largest over all
steps, is in the record: it is not more in 95 of 100 ensembles. It makes the interval; where its low
end is above 0 the process itself is rejected, falsely in 5 of 100.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ntkrepro.claims.claim import Claim, judged
from ntkrepro.claims.intervals import Estimate, Sample
from ntkrepro.records.store import Record
from ntkrepro.records.tables import select, table
from ntkrepro.theory.gaussian_process import distance

OWN = {"all": "ntk_analytic", "readout": "nngp"}  # the process they approach, by what is trained
LEARNED = 0.01  # root mean square distance of train outputs from their targets, +1 and -1
WIDTHS = 3  # at least, for a straight line in 1/n and what it leaves over


class Members(NamedTuple):
    """Outputs along the path x(alpha): alpha [points], steps [t], networks [t, members, points]."""

    alpha: np.ndarray
    steps: np.ndarray
    networks: np.ndarray


class Moments(NamedTuple):
    """Mean and standard deviation [t, points], and at most how far they are from those of
    infinitely many such networks at the steps after 0; not a number where that isn't known."""

    mean: np.ndarray
    std: np.ndarray
    noise: float


def members(record: Record) -> Members:
    alpha, steps = path(record)
    outputs = table(record, "network", "output", "path").to_numpy()
    return Members(alpha, steps, outputs.reshape(len(steps), -1, len(alpha)))


def width(record: Record) -> int:
    return int(record.config["model"]["width"])


def train(record: Record) -> str:
    """What was trained, which the oldest records don't tell."""
    return str(record.config["optimizer"].get("train", "all"))


def by_trained(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By what was trained; the narrowest first."""
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=width):
        found.setdefault(train(record), []).append(record)
    return found


def path(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """alpha [points], and steps [t]."""
    steps = np.unique(select(record, "ntk_analytic", "mean", "path")["step"])
    return select(record, "data", "alpha", "path")["value"].to_numpy(), steps


def process(record: Record, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [t, points] of a Gaussian process, or of drawn networks."""
    mean, std = (table(record, name, quantity, "path").to_numpy() for quantity in ("mean", "std"))
    return mean, std


def moments(record: Record) -> Moments:
    """Of a record's networks."""
    mean, std = process(record, "network")
    if not mean.size:
        networks = members(record).networks
        mean, alone = networks.mean(1), networks.shape[1] < 2
        std = np.full_like(mean, np.nan) if alone else networks.std(1, ddof=1)
    return Moments(mean, std, noise(record, after=True))


def noise(record: Record, after: bool) -> float:
    """Of so many draws of the process that its networks approach: of the steps after 0, or of 0.
    Not a number for one network, and for older records."""
    rows = select(record, OWN[train(record)], "noise", "path")
    rows = rows[(rows["step"] > 0) == after]
    return float(rows["value"].iloc[0]) if len(rows) else np.nan


def limit(records: Sequence[Record]) -> Moments:
    """Of infinitely wide networks, from records of several widths."""
    return extrapolated(list(map(width, records)), list(map(moments, records)))


def extrapolated(widths: Sequence[int], every: Sequence[Moments]) -> Moments:
    """At 1/n = 0 of straight lines in 1/n through moments at several widths n, point by point, by
    least squares: weighted sums of them, and so is their noise. Not a number below WIDTHS."""
    x = 1 / np.array(widths)
    if len(set(widths)) < WIDTHS:
        nothing = np.full_like(every[0].mean, np.nan)
        return Moments(nothing, nothing, np.nan)
    weights = 1 / len(x) - x.mean() * (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    mean, std = (np.tensordot(weights, [own[i] for own in every], 1) for i in (0, 1))
    return Moments(mean, std, float(np.linalg.norm(weights * [own.noise for own in every])))


def apart(record: Record) -> np.ndarray:
    """Of the two processes from each other at each step [t]."""
    return distance(*process(record, "ntk_analytic"), process(record, "nngp"))


def steps_apart(seen: Moments, record: Record, name: str) -> np.ndarray:
    """Distance of an ensemble from a process over that of both from each other, at each step after
    0 [t - 1]."""
    return distance(seen.mean, seen.std, process(record, name))[1:] / apart(record)[1:]


def from_process(seen: Moments, record: Record, name: str) -> Estimate:
    """The largest distance from a process over the steps after 0."""
    return within(steps_apart(seen, record, name).max(), seen.noise)


def from_posterior(seen: Moments, record: Record) -> Estimate:
    """Distance from the NNGP posterior at the last step, over that of the NTK process there."""
    posterior = process(record, "nngp_posterior")
    mean, std = (part[-1:] for part in process(record, "ntk_analytic"))
    both = distance(mean, std, posterior)[0]
    value = distance(seen.mean[-1:], seen.std[-1:], posterior)[0] / both
    return within(value, seen.noise * apart(record)[-1] / both)


def from_prior(record: Record) -> Estimate:
    """The largest |s / sigma - 1| at t = 0 over the path."""
    seen, (_, std) = moments(record), process(record, "nngp")
    return within(np.abs(seen.std[0] / std[0] - 1).max(), noise(record, after=False))


def within(value: float, noise: float) -> Estimate:
    """A distance, at most `noise` from that of infinitely many networks."""
    low, high = np.maximum(0, value - noise), value + noise
    return Estimate(float(value), (float(low), float(high)))


def learned(record: Record) -> bool:
    """Whether the train outputs are at their targets at the last step; not in older records, which
    don't tell."""
    losses = select(record, "network", "loss", "train")["value"].to_numpy()
    return bool(losses.size and losses[-1] <= LEARNED**2 / 2)


def spread(record: Record) -> str:
    """2 sigma at t = 0, of the process and of the networks."""
    sigma, s = process(record, "nngp")[1][0], moments(record).std[0]
    return f"2σ = {2 * sigma.mean():.3f}, of the networks {2 * s.min():.3f} to {2 * s.max():.3f}"


def of_prior(records: Sequence[Record]) -> list[Claim]:
    """3a."""
    return [
        judged("3a", from_prior(own), [own], found=spread(own), sample=networks([own]))
        for own in records
    ]


def of_one(record: Record, at: str = "") -> list[Claim]:
    """3b and 3c of networks all of whose layers were trained, 3d of those whose readout was."""
    seen, sample = moments(record), networks([record])
    return [
        judged(name, own, [record], at=at, found=told, sample=sample, checkable=asked)
        for name, own, told, asked in asked_of(seen, [record])
    ]


def of_limit(records: Sequence[Record]) -> list[Claim]:
    """The same of the limit of infinite width."""
    seen, sample = limit(records), networks(records)
    return [
        judged(f"{name} limit", own, records, found=told, sample=sample, checkable=asked)
        for name, own, told, asked in asked_of(seen, records)
    ]


def asked_of(seen: Moments, records: Sequence[Record]) -> list[tuple[str, Estimate, str, bool]]:
    """Contract, estimate, what else is known, and whether it can be asked of these records."""
    record = records[-1]
    name = OWN[train(record)]
    off, steps = steps_apart(seen, record, name), path(record)[1]
    follows = from_process(seen, record, name), f"the largest at step {steps[1 + off.argmax()]}"
    if name == "nngp":
        return [("3d", *follows, True)]
    told = "" if (every := all(map(learned, records))) else "train outputs not at their targets"
    return [("3b", *follows, True), ("3c", from_posterior(seen, record), told, every)]


def networks(records: Sequence[Record]) -> Sample:
    return Sample(sum(record.config["samples"] for record in records), "networks")


def claims(records: dict[str, list[Record]]) -> list[Claim]:
    """Of the records by experiment."""
    out = of_prior(records.get("ensemble_prior", []))
    out += [claim for own in records.get("ensemble", []) for claim in of_one(own)]
    for own in by_trained(records.get("ensemble_drawn", [])).values():
        out += [*of_one(own[-1], "drawn"), *(of_limit(own) if len(own) >= WIDTHS else [])]
    return out
