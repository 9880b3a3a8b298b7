"""Whether what came from the Hub computes figures here: tried before a registry takes it.

Shapes: K features of a view of the readout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molex_adapt.base import send
from molex_adapt.conventions import SAMPLE_RATE, SPEECH
from molex_adapt.detector import Detector
from molex_adapt.errors import HubError
from molex_adapt.readout import Readings
from molex_adapt.readout.view import View, whole_of
from molex_adapt.registry import NewExpert
from molex_adapt.registry.assemble import head_arrays
from molex_adapt.witnesses import brought_speech

_MOST = 1e6
"""No score of a detector that was trained comes near it; in nats."""
_LEVELS = (0.003, 0.1)
_CLIP = 6.0
"""Standard deviations at which the readout cuts its features."""
_ROUNDING = 0.01
_ASK = "The registry is as it was. Ask its owner to push it again, or pull another revision: ORG/REPO@REV"


def require_sound(detector: Detector, new: Sequence[NewExpert], source: str, *, whole: bool) -> None:
    """Refuse weights that are finite and whose scores are not, and statistics from which nothing could be learnt.

    Args:
        detector: with what came, as it would be kept.
        new: the experts that came.
        source: the repository, for messages.
        whole: whether its head came too.

    Raises:
        HubError: noise gets a score that nothing has, or the moments of real speech are none.
    """
    _require_moments(detector, new, source, whole)
    windows = [window for wave in _waves() for window in detector.prepare(wave)]
    for name in (None, *(item.record.name for item in new)):
        with nullcontext() if name is None else detector.mixture.forcing(name):
            scores = [score for window in windows for score in _scores(detector, window)]
        # Not "any beyond": of NaN, no comparison holds.
        wrong = [score for score in scores if not abs(score) < _MOST]
        if wrong:
            what = "the mixture with it" if name is None else f"its expert {name!r}"
            raise HubError(
                f"{source} was refused: {what} gives noise a score of {wrong[0]:g}; finite ones below {_MOST:g} nats "
                f"are expected. {_ASK}"
            )


def _waves() -> Iterator[NDArray[np.float32]]:
    """A second of noise, soft and loud, and a tone that sounds and pauses as speech does."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    for level in _LEVELS:
        yield (level * noise).astype(np.float32)
    rhythm = 0.5 + 0.5 * np.sin(2 * np.pi * 4.0 * seconds)
    tones = sum(np.sin(2 * np.pi * 120.0 * order * seconds) / order for order in range(1, 12))
    yield (0.1 * rhythm * tones + 1e-3 * noise).astype(np.float32)


@torch.no_grad()
def _scores(detector: Detector, window: NDArray[np.float32]) -> list[float]:
    """Of the detector, and of each witness alone: what one of them says may be hidden by the others."""
    wave, lengths = torch.from_numpy(window)[None].to(detector.device), torch.tensor([len(window)])
    found = [float(detector.score(wave, lengths))]
    readout, statistics = detector.head.readout, detector.statistics(wave, lengths)
    if readout is None or statistics is None or not readout.has_learnt:
        return found
    states = detector.pooled_states(*detector.base.prefix(wave, lengths))
    return [*found, *readout.each(Readings(send(statistics, states.device), states))[0].tolist()]


def _require_moments(detector: Detector, new: Sequence[NewExpert], source: str, whole: bool) -> None:
    readout = detector.head.readout
    if readout is None:
        return
    head = head_arrays(detector)
    for view, part in zip(readout.views, ("spectrum", "states"), strict=True):
        if whole and float(readout.domains) > 0 and not _is_of_speech(view, view.kept):
            raise HubError(_no_moments(source, f"its head's moments of real speech ({part})"))
        for item in new:
            if item.routing is None or not brought_speech(head, item.routing):
                continue
            own = whole_of(torch.from_numpy(item.routing[f"{SPEECH}{part}"].astype(np.float32)))
            if not _is_of_speech(view, own):
                raise HubError(_no_moments(source, f"{SPEECH}{part} of expert {item.record.name!r}"))


def _no_moments(source: str, what: str) -> str:
    return (
        f"{source} was refused: {what} are second moments that no recordings have, and nothing could be learnt beside "
        f"them. {_ASK}"
    )


def _is_of_speech(view: View, moments: Tensor) -> bool:
    """Whether (K + 1, K + 1) may be a mean of outer products of what the view makes of recordings."""
    basis = view.basis.cpu().double()
    reach = _CLIP * basis.abs().sum(0) if basis.shape[1] else torch.full((len(view.centre),), _CLIP)
    most = torch.cat([reach.double().square(), torch.ones(1, dtype=torch.float64)])
    diagonal = moments.diagonal()
    constant = abs(float(diagonal[-1]) - 1.0) < _ROUNDING
    if not constant or bool((diagonal > most * (1 + _ROUNDING) + _ROUNDING).any()):
        return False
    # Half precision rounds some eigenvalues below 0; what holds weights back when they are solved is far above that.
    raised = moments.clone()
    raised.diagonal()[:-1].add_(2 * view.ridge.least)
    raised.diagonal()[-1].add_(_ROUNDING)
    return not int(torch.linalg.cholesky_ex(raised)[1])
