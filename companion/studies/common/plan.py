"""What a profile of the reproduction computes, read from workflow/PROFILE.yaml."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from companion.experiments import PATIENTS, Patient, Phantom, Subject, TestSet
from companion.experiments.ball import WithBall
from companion.experiments.setup_digest import digest
from xrcore import TrainingSettings, XrcoreError
from xrcore.learning import profile
from xrcore.utilities import read_yaml

PROFILES = ("smoke", "laptop", "paper")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Variant:
    """A row of the ablation.

    Parameters
    ----------
    key : str
        In names of files.
    label : str
        As the paper writes it, or, where it has no such row, in words.
    changes : dict
        Of the settings of its training.
    """

    key: str
    label: str
    changes: dict[str, Any]


def _parts(autoencoder: bool, attention: bool, **changes: Any) -> dict[str, Any]:
    return {"autoencoder": autoencoder, "attention": attention, "scheme": "none"} | changes


# all see as many images: of one set of DRRs, of one that is extended at each stage, or each once
VARIANTS = (
    Variant("A", "A", _parts(False, False)),
    Variant("AB", "A+B", _parts(True, False)),
    Variant("AC", "A+C", _parts(False, True)),
    Variant("ABC", "A+B+C", _parts(True, True)),
    Variant("ABC-extended", "[A+B+C]*", _parts(True, True, scheme="extended")),
    Variant("ABC-new", "A+B+C, every DRR new", _parts(True, True, set_size=None)),
)
INCREMENTAL, EVERY_NEW = "ABC-extended", "ABC-new"
LABELS = {variant.key: variant.label for variant in VARIANTS}
OTHERS = ("salehi", "grimm", "transposenet-like")  # methods that the paper's network is compared with
PROTOCOLS = ("paper", "acquired")


@dataclass(frozen=True)
class Training:
    """A training that a profile needs.

    Parameters
    ----------
    name : str
        Also its folder below models/.
    subject : Subject
        Whose CT.
    settings : TrainingSettings
        Of the training.
    """

    name: str
    subject: Subject
    settings: TrainingSettings

    @property
    def entries(self) -> tuple[str, ...]:
        """Entries of the data manifest that it needs."""
        return entries_of(self.subject)

    @property
    def setup(self) -> str:
        """Digest of everything that determines the model."""
        return digest(self.subject.number, self.settings)


@dataclass(frozen=True, kw_only=True)
class NetworksSize:
    """Sizes of the trainings of the paper's network, the same for all tables.

    Parameters
    ----------
    settings : dict
        Changes of the profile's.
    set_size : int
        Different DRRs of a first set, where images come again.
    """

    settings: dict[str, Any]
    set_size: int


@dataclass(frozen=True, kw_only=True)
class AblationSize:
    """Sizes of Table 3's upper half.

    Parameters
    ----------
    seeds : tuple of int
        A training each; the network that sees every DRR once is trained with the first alone.
    poses, refined, adam : int
        Cases for the networks, for the refinement, and for the refinement by Adam.
    """

    seeds: tuple[int, ...]
    poses: int
    refined: int
    adam: int


@dataclass(frozen=True, kw_only=True)
class ComparisonSize:
    """Sizes of Table 1.

    Parameters
    ----------
    settings : dict
        Changes of the profile's, for the other methods.
    poses, refined : int
        Cases for the networks, and for Grimm's refinement.
    changes : dict of str to dict
        Method to further changes, for it alone.
    """

    settings: dict[str, Any]
    poses: int
    refined: int
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CohortSize:
    """Sizes of Table 3's lower half.

    Parameters
    ----------
    poses : int
        Cases.
    """

    poses: int


@dataclass(frozen=True, kw_only=True)
class CasesSize:
    """Sizes of Tables 2 and 4.

    Parameters
    ----------
    poses : int
        Cases.
    """

    poses: int


@dataclass(frozen=True, kw_only=True)
class WristSize:
    """Sizes of the real X-rays' study.

    Parameters
    ----------
    starts : int
        Searches of a case, each from another place.
    simulated : bool
        On the simulated wrist instead of the real one.
    cases : int or None
        The first so many.
    """

    starts: int
    simulated: bool = False
    cases: int | None = None


@dataclass(frozen=True, kw_only=True)
class HeadSize:
    """Sizes of the megavolt X-rays' study.

    Parameters
    ----------
    simulated : bool
        On the simulated head instead of the real one.
    every : int
        Views used: every one, every second, and so on.
    """

    simulated: bool = False
    every: int = 1


@dataclass(frozen=True, kw_only=True)
class SpeedSize:
    """Sizes of the speed study.

    Parameters
    ----------
    quick : bool
        Smaller images and fewer repeats.
    """

    quick: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a profile computes.

    Parameters
    ----------
    name : str
        Of the profile.
    training : str
        The profile of TrainingSettings that each training begins with.
    networks : NetworksSize
        Sizes of the trainings.
    ablation, comparison, cohort, cases : AblationSize, ComparisonSize, CohortSize, CasesSize
        Sizes of the studies.
    wrist, head, speed : WristSize, HeadSize, SpeedSize
        Sizes of the studies.
    patients : tuple of str
        Numbers of `PATIENTS`.
    phantoms : int
        How many, instead of patients.
    threads : int
        Of a training or an evaluation.
    device : str
        "auto" is a GPU where there is one.
    seed : int
        Of the test sets.
    spacing, fine_spacing : float
        Of the CTs in the test sets [mm], see `TestSet`.
    """

    name: str
    training: str
    networks: NetworksSize
    ablation: AblationSize
    comparison: ComparisonSize
    cohort: CohortSize
    cases: CasesSize
    wrist: WristSize
    head: HeadSize
    speed: SpeedSize
    patients: tuple[str, ...] = ()
    phantoms: int = 0
    threads: int = 1
    device: str = "cpu"
    seed: int = 0
    spacing: float = TestSet.spacing
    fine_spacing: float = TestSet.fine_spacing

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a profile.

        Parameters
        ----------
        path : str or path
            Such as workflow/smoke.yaml.

        Returns
        -------
        Plan
            Checked.

        Raises
        ------
        XrcoreError
            Naming what is missing from the file or unknown in it.
        """
        path = Path(path)
        values = read_yaml(path, 100_000)
        if not isinstance(values, dict):
            raise XrcoreError(f"{path}: expected names and values")
        kinds = {
            "networks": NetworksSize,
            "ablation": AblationSize,
            "comparison": ComparisonSize,
            "cohort": CohortSize,
            "cases": CasesSize,
            "wrist": WristSize,
            "head": HeadSize,
            "speed": SpeedSize,
        }
        given: dict[str, Any] = {name: _build(kind, values.get(name), f"{path}: {name}") for name, kind in kinds.items()}
        rest = {name: value for name, value in values.items() if name not in kinds}
        plan = _build(cls, {"name": path.stem, **rest, **given}, str(path))
        if not plan.threads:
            raise XrcoreError(f"{path}: threads must be at least 1")
        if bool(plan.patients) == bool(plan.phantoms):
            raise XrcoreError(f"{path}: give patients or phantoms, one of them")
        known = {patient.number for patient in PATIENTS}
        for number in plan.patients:
            if number not in known:
                raise XrcoreError(f"{path}: there is no patient {number!r}; choose from {', '.join(sorted(known))}")
        for method, changes in plan.comparison.changes.items():
            if method not in OTHERS:
                raise XrcoreError(f"{path}: comparison: changes: there is no method {method!r}; choose from {', '.join(OTHERS)}")
            if not isinstance(changes, dict):
                raise XrcoreError(f"{path}: comparison: changes: {method}: expected names and values")
        return plan

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Patients or phantoms; of the phantoms the last has an implant."""
        if self.phantoms:
            return tuple(Phantom(seed, implant=seed == self.phantoms - 1) for seed in range(self.phantoms))
        return tuple(patient for patient in PATIENTS if patient.number in self.patients)

    def subject(self, key: str) -> Subject:
        """Find a subject.

        Parameters
        ----------
        key : str
            Its `slug`.

        Returns
        -------
        Subject
            A patient or phantom.
        """
        return next(subject for subject in self.subjects if slug(subject) == key)

    def test_set(self, name: str, protocol: str, poses: int) -> TestSet:
        """Make a test set with the plan's seed and spacings.

        Parameters
        ----------
        name, protocol : str
            See `TestSet`.
        poses : int
            How many.

        Returns
        -------
        TestSet
            The cases.
        """
        return TestSet(name, protocol=protocol, poses=poses, seed=self.seed, spacing=self.spacing, fine_spacing=self.fine_spacing)

    @cached_property
    def with_ball(self) -> WithBall:
        """First subject, with a metal ball."""
        return WithBall(self.subjects[0])

    @cached_property
    def trainings(self) -> dict[str, Training]:
        """Every training that the profile needs, by name."""
        first, fixed = self.subjects[0], {**self.networks.settings, "acquired": False, "set_size": self.networks.set_size}
        made: list[Training] = []
        for variant in VARIANTS:
            for seed in self.seeds_of(variant.key):
                changes = {**fixed, **variant.changes, "seed": seed}
                made.append(Training(f"ablation/{variant.key}-{seed}", first, self._settings("psss", changes)))
        for method in OTHERS:
            changes = {"acquired": False, **self.comparison.settings, **self.comparison.changes.get(method, {})}
            made.append(Training(f"comparison/{method}", first, self._settings(method, changes)))
        acquired = {**self.networks.settings, "acquired": True, "scheme": "none", "set_size": None}
        for subject in self.subjects:
            if subject is not first:
                made.append(Training(f"cohort/{slug(subject)}-paper", subject, self._settings("psss", {**fixed, "scheme": "extended"})))
            made.append(Training(f"cohort/{slug(subject)}-acquired", subject, self._settings("psss", acquired)))
        made.append(Training("cases/ball", self.with_ball, self._settings("psss", acquired)))
        return {training.name: training for training in made}

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """List the seeds that a row of the ablation is trained with.

        Parameters
        ----------
        variant : str
            Its key.

        Returns
        -------
        tuple of int
            All, or of a row that the paper does not have the first.
        """
        return self.ablation.seeds[:1] if variant == EVERY_NEW else self.ablation.seeds

    def cohort_training(self, patient: str, protocol: str) -> str:
        """Name the training of a patient's network.

        Parameters
        ----------
        patient : str
            Its `slug`.
        protocol : str
            One of `PROTOCOLS`.

        Returns
        -------
        str
            Under the paper's protocol the first patient's is the ablation's.
        """
        if protocol == "paper" and patient == slug(self.subjects[0]):
            return f"ablation/{INCREMENTAL}-{self.ablation.seeds[0]}"
        return f"cohort/{patient}-{protocol}"

    def _settings(self, method: str, changes: dict[str, Any]) -> TrainingSettings:
        return profile(self.training, method).changed(**changes)


def slug(subject: Subject) -> str:
    """Return a subject's number as it appears in names of files, which cannot hold "#".

    Parameters
    ----------
    subject : Subject
        A patient or phantom.

    Returns
    -------
    str
        Its number, an implant in words.
    """
    return subject.number.replace("#", "-implant")


def entries_of(subject: Subject) -> tuple[str, ...]:
    """Name the entries of the data manifest that a subject needs.

    Parameters
    ----------
    subject : Subject
        A patient or phantom, perhaps with a ball.

    Returns
    -------
    tuple of str
        A patient's CT, and nothing for a phantom.
    """
    within = getattr(subject, "subject", subject)
    return (within.name,) if isinstance(within, Patient) else ()


def _build(kind: type[_T], values: Any, where: str) -> _T:
    if not isinstance(values, dict):
        raise XrcoreError(f"{where}: is missing")
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise XrcoreError(f"{where}: no field {name!r}; it has {', '.join(sorted(names))}")
    given, hints = {name: _freeze(value) for name, value in values.items()}, get_type_hints(kind)
    for name, value in given.items():
        if not _fits(value, hints[name]):
            raise XrcoreError(f"{where}: {name}: expected {_in_words(hints[name])}, got {values[name]!r}")
    try:
        return kind(**given)
    except TypeError as error:
        raise XrcoreError(f"{where}: {str(error).partition('() ')[2] or error}") from None


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of YAML is of the type that a field is annotated with; numbers are not negative, and lists not empty."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) > 0 and all(_fits(one, inner[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool) and 0 <= value < math.inf
    return isinstance(value, origin or hint)


def _in_words(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "names and values"}
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return " or ".join(_in_words(one) for one in inner if one is not type(None))
    return f"a list, each of it {_in_words(inner[0])}" if origin is tuple else words[origin or hint]
