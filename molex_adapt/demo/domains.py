"""The data of the demonstration: attack domains made from real speech, measured on recordings nobody trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from molex_adapt.conventions import BONA_FIDE, Split
from molex_adapt.data import Failed, Table, Utterance, assign_splits, read
from molex_adapt.errors import DataError
from molex_adapt.recipe import DemoRecipe
from molex_adapt.run import Run
from molex_adapt.simulate import Finish, make_attack, prompts, simulate, worker_pool

PROMPTS = Path("/usr/share/asterisk/sounds")
"""Where Debian installs its telephone prompts; other packages put other voices and formats there."""

VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
"""The folder of each package asterisk-core-sounds-LANGUAGE-g722: what the shipped experts were trained on."""

SUFFIX = ".g722"
"""Other packages hold the same recordings in other formats."""


@dataclass(frozen=True)
class DemoData:
    """What the demonstration works on."""

    novel: Table
    """The new domain, divided into train, dev and test; the held-out voice is not in it."""
    known_voices: Mapping[str, Table]
    """Per domain, test recordings of voices that training heard (other recordings of theirs)."""
    held_out_voice: Mapping[str, Table]
    """Per domain, recordings of the voice nobody heard; empty where there is none."""
    failed: tuple[Failed, ...]


def find_speech(folder: Path | None) -> Table:
    """Real speech from a folder, or from Debian's packages of prompts, and of these from nothing else.

    Raises:
        DataError: nothing there, or not all of the packages; says how to get them.
    """
    if folder is not None:
        return prompts(folder)
    missing = [
        language for language, voice in VOICES.items() if not any((PROMPTS / voice).glob(f"**/*{SUFFIX}"))
    ]
    if missing:
        packages = " ".join(f"asterisk-core-sounds-{language}-g722" for language in missing)
        raise DataError(
            f"no speech to demonstrate on: {PROMPTS} lacks {', '.join(VOICES[language] for language in missing)}. "
            f"Install Debian's prompts (apt-get install {packages}), or name a folder of speech, one sub-folder per "
            "voice: molex-adapt demo --speech DIR"
        )
    return prompts(PROMPTS, voices=list(VOICES.values()), suffixes=(SUFFIX,))


def make_domains(speech: Table, out: Path, recipe: DemoRecipe, *, run: Run) -> DemoData:
    """Forge the chosen recordings by every attack of the recipe.

    The novel attack is made from training, development and test recordings, all others from the test recordings alone.
    Splits follow the recordings' names, as in the training of the shipped experts, so that no test
    recording was ever trained on.

    Raises:
        DataError: too little speech.
    """
    chosen, finish = _choose(speech, recipe), Finish.model_validate(recipe.finish)
    tested = chosen.with_utterances(tuple(item for item in chosen if item.split == "test"))
    split_of = {item.source: item.split for item in chosen}
    made: dict[str, list[Utterance]] = {}
    failed: list[Failed] = []
    with worker_pool(run.workers) if run.workers > 1 else nullcontext() as pool:
        for name in attack_order(recipe):
            domain = recipe.domains[name]
            result = simulate(
                make_attack(domain.attack, domain.parameters),
                chosen if name == recipe.novel else tested,
                out / name,
                conditions=[finish],
                run=run,
                bona_fide=name == recipe.novel,
                pool=pool,
            )
            failed += [*result.failed, *result.skipped]
            made[name] = [replace(item, split=split_of[item.source]) for item in read(result.manifest)]
    bona_fide = [item for item in made[recipe.novel] if item.label == BONA_FIDE]
    novel = [item for item in made[recipe.novel] if item.speaker != recipe.held_out_speaker]
    known_voices = _measured(made, bona_fide, recipe.held_out_speaker, held_out=False)
    if recipe.novel not in known_voices:
        raise DataError(
            f"{speech.root}: no test recording could be forged by {recipe.novel}, so nothing can be measured; "
            f"{len(failed)} failed. Give a folder with more speech"
        )
    return DemoData(
        Table(tuple(novel), str(out / recipe.novel)),
        known_voices,
        _measured(made, bona_fide, recipe.held_out_speaker, held_out=True),
        tuple(failed),
    )


def attack_order(recipe: DemoRecipe) -> list[str]:
    """The recipe's domains, the novel one first: it is made with the bona fide recordings that all share."""
    return [recipe.novel, *(name for name in recipe.domains if name != recipe.novel)]


def _choose(speech: Table, recipe: DemoRecipe) -> Table:
    """So many recordings of each split, none too long; those of the held-out voice all count as test."""
    # Divided before any is left out, as in the training of the shipped experts.
    heard = speech.with_utterances(item for item in speech if item.speaker != recipe.held_out_speaker)
    unheard = [item for item in speech if item.speaker == recipe.held_out_speaker]
    divided = assign_splits(heard, by="source")
    counts: dict[Split, int] = {
        "train": recipe.train_recordings,
        "dev": recipe.dev_recordings,
        "test": recipe.test_recordings,
    }
    chosen: list[Utterance] = []
    for split, count in counts.items():
        part = _brief(divided.select(split=split), recipe)
        if len(part) < min(count, 20):
            raise DataError(
                f"{speech.root}: {len(part)} recordings of at most {recipe.longest_seconds:g} s for the {split} "
                f"split, of {len(speech)} in all; the demonstration needs at least 100 recordings of a second or "
                "more. Give a folder with more speech"
            )
        chosen += _spread(part, count)
    held_out = _spread(_brief(unheard, recipe), recipe.held_out_recordings)
    tested = (replace(item, split="test") for item in held_out)
    # What the folder lost is no loss of a domain, and each would count it.
    return replace(speech, utterances=(*chosen, *tested), left_out=())


def _brief(items: Iterable[Utterance], recipe: DemoRecipe) -> list[Utterance]:
    return [item for item in items if (item.seconds or 0.0) <= recipe.longest_seconds]


def _spread(items: list[Utterance], count: int) -> list[Utterance]:
    """`count` items at even distances, so that every voice and topic has its share."""
    if len(items) <= count:
        return items
    return [items[at * len(items) // count] for at in range(count)]


def _measured(
    made: Mapping[str, list[Utterance]], bona_fide: list[Utterance], speaker: str, *, held_out: bool
) -> dict[str, Table]:
    def wanted(item: Utterance) -> bool:
        return item.split == "test" and (item.speaker == speaker) == held_out

    found = {}
    real = [item for item in bona_fide if wanted(item)]
    for name, items in made.items():
        spoofed = [item for item in items if item.label != BONA_FIDE and wanted(item)]
        if real and spoofed:
            found[name] = Table(tuple(real + spoofed), name)
    return found
