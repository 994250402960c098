"""The command `xrcore train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xrcore._util.completion import one_of
from xrcore._util.errors import XrcoreError
from xrcore.cli.options import (
    Background,
    Body,
    Crop,
    Ct,
    Device,
    Keep,
    Labels,
    Series,
    check_paths,
    field_value,
    import_packages,
    load_carm,
    load_ct,
)

if TYPE_CHECKING:
    from xrcore.learning import PoseRegressor, TrainingSettings

_NONE = "none"  # of --start

Profile = Annotated[
    str,
    typer.Option(
        help="smoke (seconds, learns little), laptop (half an hour) or paper (256 pixels, for a GPU).",
        autocompletion=one_of("smoke", "laptop", "paper"),
    ),
]
Rotation = Annotated[str | None, typer.Option(metavar="RX,RY,RZ", help="Half-widths of the poses [deg].", show_default="15,15,10")]
Start = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="Begin with this model's weights; none: from scratch.", show_default="the start model, where it fits"
    ),
]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Any field of TrainingSettings or Architecture (a wrong name lists them).")
]

_PROTOCOLS = {"acquired": {"acquired": True}, "clinical": {"acquired": True, "clinical": True}, "paper": {"acquired": False}}


def train(
    ct: Ct,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the model.", show_default=False)],
    carm: Annotated[Path | None, typer.Option(metavar="YAML", help="Geometry.", show_default="the paper's C-arm, 256 x 256")] = None,
    profile: Profile = "laptop",
    method: Annotated[
        str,
        typer.Option(
            help="psss (the paper's network), salehi, grimm or transposenet-like.",
            autocompletion=one_of("psss", "salehi", "grimm", "transposenet-like"),
        ),
    ] = "psss",
    rotation: Rotation = None,
    translation: Annotated[str | None, typer.Option(metavar="TX,TY,TZ", help="The same [mm].", show_default="30,30,30")] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="acquired, clinical (with instruments, text, processing) or paper (plain DRRs).",
            show_default="profile's",
            autocompletion=one_of(*_PROTOCOLS),
        ),
    ] = "",
    scheme: Annotated[
        str,
        typer.Option(
            help="Incremental learning: none, extended, growing or fresh.",
            show_default="profile's",
            autocompletion=one_of("none", "extended", "growing", "fresh"),
        ),
    ] = "",
    images: Annotated[
        int | None, typer.Option(min=1, help="Training budget.", show_default="4000 from a start model, else profile's")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, poses and noise.")] = 0,
    settings: Settings = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in DIR, if there is one.")] = False,
    start: Start = None,
    device: Device = "auto",
    background: Background = None,
    labels: Labels = None,
    keep: Keep = None,
    series: Series = None,
    body: Body = False,
    crop: Crop = None,
) -> None:
    """Train a model that predicts the pose of this patient's X-rays.

    Begins with a start model, a network trained on other patients, where the repository's models/start is there and has the same method
    and architecture, and sees 4000 images by default, in minutes: a rough beginning for a search. A network that is right by itself takes
    100,000 and more (--start none --images 176000, minutes on a large GPU).

    Writes model.json with its weights, log.csv and training.png into DIR. Killed at any moment, it goes on with
    --resume from its last checkpoint to the same result. Under torchrun (-m xrcore train ...) several processes share the work.
    The model serves `xrcore register CT XRAY --initial DIR`.

    \b
    Examples:
      xrcore train ct.nii.gz --out model
      xrcore train ct.nii.gz --start none --out from-scratch
      xrcore train ct.nii.gz --start other-patient/ --images 8000 --out model
      xrcore train ct.nii.gz --rotation 30,45,30 --translation 90,90,90 --out wide
      xrcore train ct.nii.gz --method salehi --protocol paper --out salehi
      xrcore train ct.nii.gz --set autoencoder=false --set attention=false --out encoder-only
    """
    check_paths(out, ct, carm, labels, None if start in (None, _NONE) else Path(start))
    import_packages()
    from xrcore._util.atomic import check_writable
    from xrcore._util.devices import named_device
    from xrcore.cli.text import line
    from xrcore.learning import train as learn
    from xrcore.learning.training import profile as named
    from xrcore.learning.training.loop import FILES
    from xrcore.renderer import place

    check_writable(out, *FILES, "training.png")
    named_device(device)  # which complains before anything is read
    if protocol not in ("", *_PROTOCOLS):
        raise XrcoreError(f"--protocol must be {', '.join(list(_PROTOCOLS)[:-1])} or {list(_PROTOCOLS)[-1]}, got {protocol!r}")
    given: dict[str, Any] = {"seed": seed, "images": images, "scheme": scheme or None, **_PROTOCOLS.get(protocol, {})}
    given |= {"rotation": _three("--rotation", rotation), "translation": _three("--translation", translation)}
    changes = {name: value for name, value in given.items() if value is not None} | dict(map(field_value, settings))
    config = named(profile, method).changed(**changes)
    first, config, begins = _begin(start, config, changes)
    geometry = load_carm(carm)
    volume = load_ct(ct, config.spacing, background, labels, keep, series, body, crop)
    where = place(volume, device, "training", spacing=config.spacing, always_log=True).device
    if _is_main() and not (resume and any((out / file).exists() for file in FILES)):
        print(line("start", begins), flush=True)
    model = learn(volume, geometry, config, out=out, resume=resume, start=first, device=where, progress=True)
    _report(out, model)


def _begin(option: str | None, config: TrainingSettings, given: dict[str, Any]) -> tuple[PoseRegressor | None, TrainingSettings, str]:
    """The model to begin with, the settings of a training that does, and what to say of it."""
    from xrcore.learning import PoseRegressor, fine_tuning, shipped_start_model
    from xrcore.learning.training.loop import misfit

    if option == _NONE:
        return None, config, "from scratch"
    folder = shipped_start_model() if option is None else Path(option)
    if folder is None:
        return None, config, "from scratch: there is no start model beside this package; --start MODEL begins with one"
    model = PoseRegressor.load(folder)
    if option is None and (difference := misfit(model, config)):
        return None, config, f"from scratch: the start model has {difference}"
    if model.ct.patients == 1:
        return model, config, f"the model in {folder}"
    tuned = fine_tuning(config).changed(**given)
    return model, tuned, f"the start model in {folder}, {tuned.images} images (--start none: from scratch, which takes many more)"


def _three(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise XrcoreError(f"{option}: expected three numbers such as 15,15,10, got {text!r}")
    return values


def _is_main() -> bool:
    """Whether this process, of those that torchrun started, speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def _report(out: Path, model: Any) -> None:
    from xrcore.cli.text import command, line
    from xrcore.figures.figure_files import save_figure
    from xrcore.figures.training import training_figure

    if not _is_main():
        return
    save_figure(training_figure(out), out / "training.png")
    got, a = model.training["validation"], model.settings.architecture
    seen, minutes = model.training["images"], model.training["seconds"] / 60
    print(line("trained", f"{model.settings.method}, {a.pixels} x {a.pixels} pixels, {seen} images in {minutes:.1f} min"))
    errors = f"mTRE {got['mtre']} mm, median {got['median']} mm"
    print(line("validation", f"{errors}, below 10 mm in {got['success']} % of {got['images']} unseen"))
    print(line("written", f"{out}/: model.json and its weights, log.csv, training.png"))
    print(line("try next", command("register", "CT", "XRAY", "--initial", out, "--out", "result")))
