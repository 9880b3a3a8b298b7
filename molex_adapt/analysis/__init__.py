"""Which experts act for which attack, what they are worth, and what follows."""

from molex_adapt.analysis.analyse import analyse_table, conclude
from molex_adapt.analysis.corpus import Corpus
from molex_adapt.analysis.observe import observe, observe_features, observe_table
from molex_adapt.analysis.observed import Observed
from molex_adapt.analysis.recalled import analyse_recalled
from molex_adapt.analysis.shares import shares
from molex_adapt.analysis.tally import Tally

__all__ = [
    "Corpus",
    "Observed",
    "Tally",
    "analyse_recalled",
    "analyse_table",
    "conclude",
    "observe",
    "observe_features",
    "observe_table",
    "shares",
]
