"""Learn the readout of a detector anew, in a new registry: its experts and routers stay bit-identical.

    python -m tools.wideband.relearn data/domains/shipped.csv --registry registry --out new-registry

For a low-level view that hears more than it did when the detector was trained. The readout's share, the calibration
and the threshold follow it, chosen on the development split. Of the exemplars that experts keep there is no waveform:
what the view hears of them now is estimated from what it heard then, and from the states, by ridge regression.

Shapes: N recordings, P statistics that were heard before, S all of them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from molex_adapt.api.outcome import data_record, machine_of
from molex_adapt.api.training import Training, by_domain
from molex_adapt.detector import Detector
from molex_adapt.errors import DataError
from molex_adapt.features import Features, readings_of
from molex_adapt.readout import Readout
from molex_adapt.registry import GenerationDraft, NewExpert, Store
from molex_adapt.registry.assemble import head_arrays
from molex_adapt.registry.exemplars import arrays_to_features
from molex_adapt.registry.files import Arrays
from molex_adapt.run import Run
from molex_adapt.train.acceptance import rates, score_sets
from molex_adapt.train.calibrate import calibrate, frozen_threshold
from molex_adapt.train.prepare import DomainData
from molex_adapt.train.readout_stage import learn_readout, let_it_speak_alone, weigh_readout

_RIDGE = 0.05


def relearn(store: Store, data: Path, out: Path, run: Run) -> Store:
    """A new registry with the active mixture of another, and its readout learnt anew from the data of all domains.

    Raises:
        DataError: the data has not the domains of the experts.
    """
    active, first = store.generation(), list(store.ancestry())[-1]
    training = Training.begin(store, active, None, "other", run)
    detector = training.detector
    detector.head.readout = _fresh(detector)
    domains = by_domain(training.prepare(data))
    if set(domains) != set(active.names):
        raise DataError(
            f"{data} has domains {', '.join(sorted(domains))}; the experts are {', '.join(active.names)}. "
            "Give what they were trained on"
        )
    development = [item.dev for item in domains.values()]
    remarks = learn_readout(detector, domains, run).remarks
    let_it_speak_alone(detector, development)
    remarks += weigh_readout(detector, development)
    remarks += calibrate(detector, development)
    threshold = frozen_threshold(detector, development, training.recipe.refused)
    after = rates(score_sets(detector, {name: item.test for name, item in domains.items()}))
    estimate = _estimator(detector, domains)
    made = Store.create(out, store.base, store.base_folder)
    draft = GenerationDraft(
        parent=None,
        experts=active.names,
        router=store.router_tensors(),
        head=head_arrays(detector),
        recipe=store.recipe(first.number) or "",  # of the experts, which the first command made
        calibration=(detector.calibration.scale, detector.calibration.offset),
        threshold=threshold,
        new_experts=[
            NewExpert(
                record.model_copy(update={"metrics": {record.domain: after[record.domain].as_dict()}}),
                store.expert_weights(record.name),
                completed(store.exemplar_tensors(record.name), detector.heard, estimate),
                store.routing_tensors(record.name),
            )
            for record in store.experts()
        ],
        command=f"{first.command} && {run.command}",
        seed=run.seed,
        data=[data_record(item, training.recipe) for item in training.data],
        machine=machine_of(detector),
        metrics={domain: found.as_dict() for domain, found in after.items()},
        profile=active.profile,
        remarks=[
            "the readout was learnt anew; experts and routers are those of a former registry, bit-identical",
            *remarks,
        ],
    )
    made.add_generation(draft, activate=True)
    return made


def completed(arrays: Arrays | None, heard: int, estimate: Callable[[Features], Tensor]) -> Arrays | None:
    """An expert's exemplars with all statistics that are heard now; as they are where they have them."""
    found = dict(arrays or {})
    for part in ("replay", "check"):
        known = found.get(f"{part}.statistics")
        features = None if known is None or known.shape[1] == heard else arrays_to_features(found, part, [])
        if features is not None and len(features):
            found[f"{part}.statistics"] = estimate(features).half().numpy()
    return found or None


def _fresh(detector: Detector) -> Readout:
    """A readout without witnesses. What it reads of the states stays: the frozen base is as it was."""
    former, found = detector.head.readout, Readout(detector.pooled_width)
    if former is None:
        raise DataError("this registry has no readout; train one with --set head.readout=true")
    found.see(former.of_states.basis.shape[1])
    found.of_states.load_state_dict(former.of_states.state_dict())
    return found.to(detector.device)


def _estimator(detector: Detector, domains: Mapping[str, DomainData]) -> Callable[[Features], Tensor]:
    """From features whose statistics are (N, P) to (N, S), by what training recordings of all domains have there."""
    readout = detector.head.readout
    assert readout is not None
    read = [
        readings_of(detector, item.train) for item in domains.values() if isinstance(item.train, Features)
    ]
    views = [torch.cat(parts) for parts in zip(*(readout.features(each) for each in read), strict=True)]

    def estimate(features: Features) -> Tensor:
        assert features.statistics is not None
        count, known = features.statistics.shape[1], readout.heard
        lacking = torch.full((len(features), known - count), torch.nan)
        whole = replace(features, statistics=torch.cat([features.statistics, lacking], dim=1))
        spectrum, states = readout.features(readings_of(detector, whole))
        # The last of the spectrum's features is constant: without it among those that are known, there is no offset.
        given = torch.cat([views[0][:, :count], views[0][:, -1:], views[1]], dim=1).double()
        asked = torch.cat([spectrum[:, :count], spectrum[:, -1:], states], dim=1).double()
        moments = given.T @ given / len(given) + _RIDGE * torch.eye(given.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(moments, given.T @ views[0][:, count:known].double() / len(given))
        view = readout.of_spectrum
        found = (asked @ weights).float() * view.spread[count:].cpu() + view.centre[count:].cpu()
        return torch.cat([features.statistics, found], dim=1)

    return estimate


def main() -> None:
    """Read the command line, learn, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the new registry")
    options = parser.parse_args()
    command = shlex.join(["python", "-m", "tools.wideband.relearn", *sys.argv[1:]])
    run = Run(device="cpu", precision="fp32", command=command)
    store = relearn(Store.open(options.registry), options.data, options.out, run)
    for domain, found in store.generation().metrics.items():
        print(f"{domain:16}{100 * float(found['eer']):6.1f} %")


if __name__ == "__main__":
    main()
