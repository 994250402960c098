"""What the reference shows, and in which order: rooms of the house, and the surface in the groups a reader thinks in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A module, and which of its names: default its `__all__`, or else its public classes and functions.

    more: constants besides these. only: these alone, in this order.
    """

    module: str  # below the package
    more: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Room:
    """A page: parts of one module or of several. about: said of a folder that has no docstring. optional: there may be no such module."""

    name: str
    parts: tuple[Part, ...]
    about: str = ""
    optional: bool = False


def _room(name: str, *parts: str | Part, about: str = "", optional: bool = False) -> Room:
    return Room(name, tuple(part if isinstance(part, Part) else Part(part) for part in parts or (name,)), about, optional)


ROOMS = (
    _room("geometry"),
    _room("ct"),
    _room("beam"),
    _room("renderer"),
    _room("xray"),
    _room("simulate"),
    _room("phantom"),
    _room(
        "refinement",
        "refinement.refine",
        Part("refinement.settings", more=("METHODS", "PYRAMID", "PRESETS")),
        Part("refinement.result", only=("Registration", "Evidence", "Step", "Watch")),
        Part("refinement.multistart", only=("SearchBox", "search_down", "Found")),
        Part("refinement.views", only=("register_views", "View", "ViewSettings", "ViewLevel", "ViewsRegistration")),
        "refinement.verify",
        Part("refinement.landscape", only=("profiles", "Profiles", "plane", "Plane", "capture_range")),
        "refinement.returns",
        "refinement.similarities",
        "refinement.problem",
        "refinement.gauss_newton",
        "refinement.adam",
        "refinement.lbfgs",
        "refinement.derivative_free",
        about="From a start to the best pose near it: similarities, methods, one kind of settings, one kind of result.",
    ),
    _room("registration"),
    _room("networks", "networks", "networks.methods", "networks.psss", "networks.losses"),
    _room("training", "training", Part("training.train", only=("train",)), "training.schedule", "training.stream"),
    _room("models"),
    _room("metrics"),
    _room("figures"),
    _room("datasets", "datasets.manifest", "datasets.store", "datasets.deepfluoro", "datasets.biplane"),
    _room("experiments"),
    _room("widgets", optional=True),
)

# Of `xrcore.__all__`; what is in no group comes after them.
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Reading CTs and X-rays", ("read_ct", "Volume", "read_xray", "Xray", "write_xray", "read_carm", "write_carm")),
    ("Geometry", ("Pose", "CArm")),
    ("Rendering", ("render", "render_with_jacobian", "Beam")),
    ("Simulating", ("simulate", "Acquisition")),
    (
        "Registering",
        ("register", "Registration", "Evidence", "SearchBox", "refine", "Settings", "Level", "register_views", "View", "ViewSettings"),
    ),
    ("Training and models", ("train", "TrainingSettings", "Architecture", "PoseRegressor")),
    ("Metrics, figures, experiments, phantom", ("metrics", "figures", "experiments", "phantom")),
)
