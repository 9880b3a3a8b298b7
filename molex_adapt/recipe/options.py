"""The options of recipes, in sections, with their defaults and bounds."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from molex_adapt.conventions import LARGEST_INTEGER, Precision, Seconds


class Options(BaseModel):
    """A section of a recipe. It is frozen, and refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _integers_are_believable(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
                raise ValueError(f"{name} is beyond {LARGEST_INTEGER}")
        return self


FEED_FORWARD = ("feed_forward.intermediate_dense", "feed_forward.output_dense")
"""The linear layers of a block's feed-forward, as WavLM and most others call them."""


class LoraOptions(Options):
    """The size of an expert, and the layers that it adapts."""

    rank: int = Field(8, ge=1, le=512)
    alpha: float = Field(16.0, gt=0)
    targets: tuple[str, ...] = FEED_FORWARD
    """Linear layers of every block, by their path inside the block. The default stands for those of the
    feed-forward on every base, whatever they are called there (in Whisper fc1 and fc2)."""

    @model_validator(mode="after")
    def _targets_are_different(self) -> Self:
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets {list(self.targets)} must name at least one layer, and each once")
        return self


class RouterOptions(Options):
    """How a block chooses its experts."""

    routing: Literal["utterance", "frame"] = "utterance"
    top_k: int = Field(4, ge=1)
    """Number of experts that act in a block; all experts where there are fewer."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the Gaussian noise on the gate logits while training."""
    load_balance: float = Field(0.01, ge=0)
    """Weight of the load-balancing loss (joint training and router stage)."""
    domain_loss: float = Field(0.5, ge=0)
    """Weight of the loss that teaches routers to send spoofed speech of a domain to the expert of that domain. In the
    expert stage it also keeps all other speech away from the new one."""


class HeadOptions(Options):
    """Layer weights, projection, attentive statistics pooling, classifier; and the readout beside them."""

    width: int = Field(128, ge=4, le=2**14)
    readout: bool = False
    """Whether closed-form evidence from spectra and the frozen base's states has a say in the score, too."""


class DataOptions(Options):
    """How recordings are divided into splits, and how much of each is used."""

    crop_seconds: Seconds = Field(2.0, ge=0.1)
    """Length of a training crop, and of an exemplar; shorter recordings are used whole."""
    window_seconds: Seconds = Field(10.0, ge=0.5)
    """Longer recordings are scored in windows, and the scores are averaged by the windows' lengths."""
    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25)
    """Shares of train, dev and test where the data states no splits."""
    split_by: Literal["auto", "speaker", "source"] = "auto"

    @model_validator(mode="after")
    def _fractions_make_a_whole(self) -> Self:
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions {self.fractions} must be positive and sum to 1")
        return self


class TrainingOptions(Options):
    """What all stages of training have in common."""

    batch_size: int = Field(32, ge=2)
    router_learning_rate: float = Field(1e-2, gt=0)
    """Of router rows, in every stage."""
    replay_share: float = Field(0.5, ge=0, lt=1)
    """Share of every batch that is drawn from exemplars of old domains. In the expert stage they divide it by their
    present loss."""
    patience: int = Field(4, ge=1)
    """Evaluations on the development split without an improvement, after which a stage stops early. Of a new expert and
    of routers, whose gains must be certain to count, 0.001 nats are none."""


class StageOptions(Options):
    """One run of the optimiser."""

    steps: int = Field(ge=0)
    evaluate_every: int = Field(ge=1)


class JointStage(StageOptions):
    """Joint training of experts, router and head (`train`)."""

    steps: int = Field(600, ge=0)
    evaluate_every: int = Field(50, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    """Of the experts and the head."""
    orthogonality: float = Field(1e-3, ge=0)
    """Weight of the penalty on the overlap between the A matrices of experts."""
    draws: int = Field(1, ge=0, le=16)
    """Under how many chains of conditions (codecs, bands, noise, rooms), drawn by chance, each recording of the train
    and dev splits is heard beside as it is, in the first training of a mixture, by whatever command. One that went
    through a condition already, as its manifest says, is heard as it is alone. Copies of one source have the same
    chains."""


class ExpertStage(StageOptions):
    """A new expert and its router rows (`add-expert`)."""

    steps: int = Field(100, ge=0)
    evaluate_every: int = Field(20, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    """Of the expert."""


class RouterStage(StageOptions):
    """A short training of all router rows (`retrain-router`, and after the expert stage of `add-expert`)."""

    steps: int = Field(30, ge=0)
    evaluate_every: int = Field(10, ge=1)


class ExemplarOptions(Options):
    """Recordings that an expert keeps of its domain, as frozen-prefix features: none, unless asked for.

    Speech can be rebuilt from such features. Without them, later experts know a domain by what routers read of it.
    """

    replay: int = Field(0, ge=0)
    """Utterances of each class from the training split, which the training of later experts replays."""
    check: int = Field(0, ge=0)
    """Utterances of each class from the test split, which later generations are measured on. Without them, old domains
    are measured on data that is given: `add-expert --check`."""


class AcceptanceOptions(Options):
    """When a new generation is activated."""

    tolerance: float = Field(0.03, ge=0, le=1)
    """Largest rise of an old domain's EER, as a fraction, that is still accepted. A larger one is refused where its
    paired bootstrap interval is above zero as well."""
    known: float = Field(0.03, ge=0, le=1)
    """A new domain with at most this EER under the active mixture is reported as known before training."""
    refused: float = Field(0.01, ge=0, le=1)
    """Largest rise of the share of bona fide speech that the frozen threshold refuses, as a fraction; judged alike."""


class Recipe(Options):
    """How experts are trained, routed and judged."""

    lora: LoraOptions = LoraOptions()
    router: RouterOptions = RouterOptions()
    head: HeadOptions = HeadOptions()
    data: DataOptions = DataOptions()
    training: TrainingOptions = TrainingOptions()
    joint: JointStage = JointStage()
    expert: ExpertStage = ExpertStage()
    router_stage: RouterStage = RouterStage()
    exemplars: ExemplarOptions = ExemplarOptions()
    gate: AcceptanceOptions = AcceptanceOptions()
    """Of the acceptance. The key is older than the word: stored recipes have it."""
    refused: float | None = Field(0.03, ge=0, lt=0.5)
    """Largest share of bona fide development speech that the threshold of a first mixture refuses; later generations
    keep that threshold. It lies where both error rates are equal, or lower; null for no such limit. Unheard voices and
    channels are refused more often than the development split's: `molex-adapt set-threshold` chooses it anew on real
    speech that training did not hear."""
    precision: Precision = "auto"
    """Number format of the base's blocks and the experts, in training and scoring. `auto` is bfloat16 where the
    processor (with AMX, or AMD's with AVX512_BF16) or GPU multiplies matrices in it faster. Prefix, weights in
    training, routers, head and losses are float32."""


class DemoDomain(Options):
    """An attack domain that the demonstration makes."""

    attack: str
    """A name that `simulate` knows."""
    parameters: dict[str, Any] = {}


class DemoRecipe(Options):
    """What the demonstration makes, and from how much speech."""

    novel: str = "griffin_lim"
    """The domain that the shipped mixture does not know; a key of `domains`."""
    domains: dict[str, DemoDomain] = {}
    """By name: the novel one, the shipped ones, and `null`, the control."""
    finish: dict[str, Any] = {}
    """Parameters of the condition `finish`, which both classes go through: codec, band, level_dbfs, trim."""
    held_out_speaker: str = "june"
    """A voice that neither base nor experts ever heard; measured apart."""
    train_recordings: int = Field(300, ge=10)
    dev_recordings: int = Field(80, ge=10)
    test_recordings: int = Field(150, ge=10)
    held_out_recordings: int = Field(80, ge=0)
    longest_seconds: Seconds = Field(4.0, gt=0)
    """Longer recordings are left aside: they would cost more time than they tell."""
    adapt: dict[str, Any] = {}
    """Options of the adaptation recipe that differ from the registry's, e.g. fewer steps."""

    @model_validator(mode="after")
    def _novel_is_made(self) -> Self:
        if self.novel not in self.domains:
            raise ValueError(f"novel {self.novel!r} is not among the domains {sorted(self.domains)}")
        return self
