"""The public face: a registry that scores, learns and explains. The command line does nothing but call this.

Example::

    registry = Registry.open("registry")
    report = registry.add_expert("codec_x/", domain="codec_x")
    print(report.after["codec_x"].eer, registry.score(["suspect.wav"]).scores[0].score)
"""

from molex_adapt.api.inputs import Data
from molex_adapt.api.registry import EMBEDDED, Registry
from molex_adapt.run import Run

__all__ = ["EMBEDDED", "Data", "Registry", "Run"]
