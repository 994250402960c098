"""Write the measured figures that README and the docs show, from results/, so that each number has one source.

python benchmarks/tables.py    # what stands between <!-- NAME --> and <!-- /NAME -->: a table of TABLES, or in a sentence one of `numbers`
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from common.image_conditions import CONDITIONS, SET_ON, UNSEEN

from xrcore.utilities import atomic_file, read_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PROFILE = "laptop"  # whose tables of the paper are shown
REFINEMENTS = {
    "Grimm 2021 refinement": "Grimm's refinement",
    "PSSS, Adam as intended": "the paper's Adam",
    "PSSS, refined by least squares": "least squares (the paper: Adam)",
}
REGISTRATION = "registration from the zero pose"  # a row of results/speed.json
_REGISTERED = "a whole registration; the paper's with its network, here without, from the zero pose"
_BEGUN = {"start": "start model", "scratch": "scratch"}  # of results/fine_tuning.json
_SCORE = {"mtre_mean": "mtre", "sr_percent": "sr"}  # columns of Table 3, as Table 1 has them
LIKENESS = ("ncc", "ssim", "css")
READINGS = ("psss", "transposenet-like")  # methods of Table 1's table of readings, in its order


# the paper's tables


def headline() -> str:
    """Headline table of the README: the paper's figures beside those measured here."""
    compared, cohort, balls = paper_table("02_table1_comparison"), overview(), paper_table("06_table4_xray_cases", "measure", "source")
    parts = paper_table("04_table3_ablation").rename(columns={f"{a}{s}": f"{b}{s}" for a, b in _SCORE.items() for s in ("", "_paper")})
    refined = paper_table("03_table2_refinement").loc["PSSS, refined by least squares"]
    shown = {
        "Table 1: Salehi 2018": compared.loc["Salehi 2018"],
        "Table 1: Grimm 2021": compared.loc["Grimm 2021"],
        "Table 3: the network alone": parts.loc["[A+B+C]*"],
        "Table 1: PSSS": compared.loc["PSSS"],
        "Table 3: the network, then refined": parts.loc["[A+B+C]*+D"],
        "six patients, refined, X-rays *simulated as acquired*": (acquired := cohort.loc["refined, as acquired"]),
    }
    rows = [(label, score(row, "_paper"), score(row)) for label, row in shown.items()]
    rows += [("the same, mean projection distance (mPD)", mm(acquired["mpd_paper"]), mm(acquired["mpd"]))]
    rows += [("Table 2: NCC after refinement, X-rays *simulated* here", f"{refined['ncc_paper']:.3f}", f"{refined['ncc']:.3f}")]
    paper, here = (f"{balls.loc[('PD', source), 'mean']:.2f} mm" for source in ("paper", "here"))
    rows += [("Table 4: projection distance of a metal ball (the paper's text: 1.55 mm), X-rays *simulated* here", paper, here)]
    times = paper_table("08_speed")["paper_ms"] / 1e3
    rows += [
        ("one 256 x 256 image", f"{seconds(times['image'])}, GPU", f"{time('image')}, two CPU cores"),
        (_REGISTERED, f"{seconds(times['registration from the prediction'])}, GPU", f"{time(REGISTRATION)}, two CPU cores"),
    ]
    return grid(("", "the paper", "here"), rows)


def paper() -> str:
    """Every row of the paper's tables that was measured again."""
    rows = []
    for name, row in paper_table("02_table1_comparison").iterrows():
        rows.append(("Table 1", name, score(row, "_paper"), score(row)))
    second = paper_table("03_table2_refinement")
    for name, label in REFINEMENTS.items():
        before, here = ("; ".join(f"{second.loc[name, m + suffix]:.3f}" for m in LIKENESS) for suffix in ("_paper", ""))
        rows.append(("Table 2", f"{label}: NCC; SSIM; CSS (*simulated* X-rays here)", before, here))
        rows.append(("", f"{label}: mTRE", "", millimetres(second.loc[name, "mtre_mm"])))
    for name, row in paper_table("04_table3_ablation").dropna(subset=["mtre_mean_paper"]).iterrows():
        interval = f" ({row['mtre_low']:.1f} to {row['mtre_high']:.1f})" if row["mtre_mean"] >= 0.005 else ""
        here = millimetres(row["mtre_mean"]) + interval if row["seeds"] else "not trained yet"
        over = "seeds and poses" if row["seeds"] > 1 else "poses, one seed"
        rows.append(("Table 3", f"{name} (95 % interval over {over})", millimetres(row["mtre_mean_paper"]), here))
    for name, row in overview().iterrows():
        rows.append(("Table 3", f"six patients, {name}", score(row, "_paper"), score(row)))
        rows.append(("", f"six patients, {name}: mPD", millimetres(row["mpd_paper"]), millimetres(row["mpd"])))
    fourth = paper_table("06_table4_xray_cases", "measure", "source")
    for measure in ("PD", "NCC", "SSIM", "CSS"):
        before, here = (f"{fourth.loc[(measure, s), 'mean']:.3f} ± {fourth.loc[(measure, s), 'std']:.3f}" for s in ("paper", "here"))
        rows.append(("Table 4", f"{measure}{' of the ball [mm]' if measure == 'PD' else ''}, ten X-rays (*simulated* here)", before, here))
    return grid(("", "", "the paper", "here"), rows, text=(0, 1))


def ablation() -> str:
    """Every step of the ablation with and without, and whether it helped."""
    rows = [
        (part, f"{row['difference']:+.2f} mm ({row['difference_low']:+.2f} to {row['difference_high']:+.2f})", row["verdict"])
        for part, row in paper_table("04_table3_ablation-order").iterrows()
    ]
    return grid(("part added", "change of the mean mTRE (95 % interval)", "verdict"), rows, text=(0, 2))


def readings() -> str:
    """The paper's network and the one that reads its parts otherwise, alone, and how their attention is spread."""
    spread = {line["method"]: line for line in kept("attention_entropy")["table"]}
    rows = []
    for (name, row), method in zip(paper_table("02_table1_comparison-readings").iterrows(), READINGS, strict=True):
        interval = f"{row['mtre']:.2f} mm ({row['mtre_low']:.2f} to {row['mtre_high']:.2f})"
        line = spread[method]
        rows.append((name, interval, f"{row['sr']:.1f} %", line["tokens"], f"{line['entropy']:.3f}", f"{line['apart']:.3f}"))
    return grid(("network alone", "mTRE", "success", "places", "entropy", "queries apart"), rows)


def real_head() -> str:
    """The head phantom: each view alone against all, odd against even views."""
    table = paper_table("07_real_xrays-head")
    rows = [
        (name, *("-" if v != v else f"{v:.2f}" for v in row[:-1]), row[-1]) for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return grid(("view", *table.columns), rows)


def real_xrays() -> str:
    """The wrist: each camera alone against the other."""
    table = paper_table("07_real_xrays-between")
    return grid(("bone, frame", *table.columns), [(name, *(f"{v:.1f}" for v in row)) for name, row in table.iterrows()])


# this machine


def accuracy() -> str:
    """Registrations of six patients from the zero pose; the paper's protocol in the last column."""
    lines = kept("accuracy")["table"]
    plain = {line["patient"]: line for line in lines if line["protocol"] == "paper"}
    head = (
        "patient",
        "success",
        "mTRE median",
        "95 %",
        "largest",
        "mPD median",
        "trusted",
        "failures trusted",
        "paper's protocol, mTRE median",
    )
    rows = [
        (
            line["patient"], percent(line["SR %"]), mm(line["mTRE median mm"]), mm(line["mTRE p95 mm"]), mm(line["mTRE max mm"]),
            mm(line["mPD median mm"]), percent(line["trusted %"]), line["failures trusted"], mm(plain[line["patient"]]["mTRE median mm"]),
        )
        for line in lines if line["protocol"] == "acquired"
    ]  # fmt: skip
    return grid(head, rows)


def network() -> str:
    """The trained models, alone and as the start of a registration."""
    head = (
        "patient", "trained on", "tested on", "network mTRE mean", "median", "success", "then refined, median", "success", "trusted",
        "time", "images seen",
    )  # fmt: skip
    rows = []
    for line in kept("network")["table"]:
        refined: tuple[Any, ...] = ("", "", "", "")
        if line["refined median mm"] is not None:
            time = f"{line['refined seconds']:.2f} s"
            refined = (mm(line["refined median mm"]), percent(line["refined SR %"]), percent(line["trusted %"]), time)
        alone = (f"{line['network mTRE mean mm']:.1f} mm", f"{line['network median mm']:.1f} mm", percent(line["network SR %"]))
        rows.append((line["patient"], line["trained on"], line["tested on"], *alone, *refined, f"{line['images seen']:,}"))
    return grid(head, rows, text=(0, 1, 2))


def network_conditions() -> str:
    """The trained models alone on images that xrcore did not make."""
    lines = kept("network_conditions")["table"]
    networks = list(dict.fromkeys((line["patient"], line["model"]) for line in lines))
    found = {(line["patient"], line["model"], line["what was done to the image"]): line for line in lines}
    conditions = dict.fromkeys(name for *_, name in found)

    def reached(line: dict[str, Any]) -> str:
        return f"{percent(line['SR %'])}, {line['mTRE mean mm']:.1f} mm"

    rows = [(name, *(reached(found[*network, name]) for network in networks)) for name in conditions]
    return grid(("what was done to the image", *(f"{patient}, {model}" for patient, model in networks)), rows)


def wide_ranges() -> str:
    """Poses far beyond the paper's ranges."""
    rows = [
        (line[""], percent(line["SR %"]), mm(line["mTRE median mm"]), mm(line["mTRE p90 mm"]))
        + (("", "") if line[""] == "network alone" else (percent(line["trusted %"]), line["failures trusted"]))
        for line in kept("wide_ranges")["table"]
    ]
    return grid(("", "success", "mTRE median", "90 %", "trusted", "failures trusted"), rows)


def fine_tuning() -> str:
    """Networks of the next patient, from scratch and from a start model, against the images that they saw."""
    lines = kept("fine_tuning")["table"]
    budgets = [key.removesuffix(": mTRE mm") for key in lines[0] if key.endswith(": mTRE mm")]

    def reached(line: dict[str, Any], images: str) -> str:
        error, success = line[f"{images}: mTRE mm"], line[f"{images}: SR %"]
        if success is None:
            return ""
        shown = mm(error) if error is None else f"{error:.1f} mm"
        return f"{shown}, {success:.0f} %"

    rows = [(line["patient"], line["begun from"], *(reached(line, images) for images in budgets)) for line in lines]
    return grid(("patient", "begun from", *(f"{int(n):,} images" for n in budgets)), rows, text=(0, 1))


def throughput() -> str:
    """Training images a second, what each option does to them, and the share of rendering."""
    rows = [
        (l["option"], f"{l['images / s and core']:.0f}", f"{l['ratio']:.2f}", f"{l['rendering %']:.0f} %")
        for l in kept("throughput")["table"]
    ]
    return grid(("option", "images a second and core", "to the profile's", "rendering"), rows)


def tracking() -> str:
    """A cine whose poses are known, of one camera and of two; of errors also their range."""
    lines = []
    for line in kept("tracking")["table"]:
        found = "" if line.get("low") is None else f"range {line['low']:.2g} to {line['high']:.2g} {line['unit']}"
        lines.append(line | {"how": line["how"].replace("range", found)})
    return with_aims(lines)


def knee() -> str:
    """A knee replacement in real fluoroscopy: medians over the frames."""
    head = ("component, by", "against", "distance", "angle", "across the depth", "in depth", "frames", "trusted")
    rows = []
    for (body, method), some in pd.read_csv(RESULTS / PROFILE / "knee.csv").groupby(["body", "method"]):
        against = "the publishers' poses" if body == "femur" else "" if method == "both" else "both cameras' answer"
        middle = some[["distance_mm", "angle_deg", "across_mm", "depth_mm"]].abs().median()
        measured = (mm(middle["distance_mm"]), f"{middle['angle_deg']:.2f}°", mm(middle["across_mm"]), mm(middle["depth_mm"]))
        rows.append((f"{body}, {method}", against, *(measured if against else [""] * 4), len(some), int(some["trusted"].sum())))
    return grid(head, rows, text=(0, 1))


def anywhere() -> str:
    """X-rays of which nothing is known."""
    head = ("patient", "views", "success", "mTRE median", "95 %", "trusted", "failures trusted", "searches", "time, median")
    rows = [
        (
            line["patient"], line["views"], percent(line["SR %"]), mm(line["mTRE median mm"]), mm(line["mTRE p95 mm"]),
            percent(line["trusted %"]), line["failures trusted"], line["searches mean"], seconds(line["seconds median"]),
        )
        for line in kept("anywhere")["table"]
    ]  # fmt: skip
    return grid(head, rows)


def startup() -> str:
    """What starting costs."""
    rows = [(line[""], seconds(line["processor s"]), seconds(line["elapsed s"])) for line in kept("startup")["table"]]
    return grid(("", "processor time", "elapsed"), rows)


def truth() -> str:
    """The CPU renderer against its references, the largest over the real CTs."""
    cts = kept("truth")["table"]
    values, jacobian, rtk = (max(ct[key] for ct in cts) for key in ("value_max", "jacobian_norm", "rtk_cpu"))
    rows = [
        ("`cpu` against the float64 reference, values", f"{values:.0e}", "1e-3"),
        ("`cpu` Jacobian against float64 central differences", f"{100 * jacobian:.2f} %", "1 %"),
        ("line integrals against RTK's Joseph projector", f"{100 * rtk:.4f} %", "0.5 %"),
    ]
    return grid(("", "largest over the real CTs", "aim"), rows)


def speed() -> str:
    """The renderer, its peers and a registration, in one run."""
    return with_aims(kept("speed")["table"])


def if_measured(table: Callable[[], str]) -> str:
    """A table; where its script has not run yet, that."""
    name = table.__name__
    return table() if (RESULTS / f"{name}.json").exists() else grid(("",), [(f"not measured yet: python benchmarks/{name}.py",)])


def mistake(name: str) -> str:
    """What a kind of mistake in the geometry costs."""
    table = kept("geometry_mistakes")[name]
    numeric = [all(re.fullmatch(r"[-+]?\d+(\.\d+)?", row[i]) for row in table["rows"]) for i in range(len(table["head"]))]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (table["head"], rule, *table["rows"]))


# a GPU


def gpu() -> str:
    """What was measured on a GPU; where nothing was, the aims."""
    lines = kept("gpu")["table"]
    some = any(line["median"] is not None for line in lines)
    return with_aims([line for line in lines if some or line["aim"]])


def gpu_precision() -> str:
    """What 16 bits a material and single precision cost, at the largest size measured."""
    lines = kept("gpu_precision")["table"]
    largest = max((line["pixels"], line["voxels"]) for line in lines)
    head = ("image, relative", "image, largest", "Jacobian, relative")
    rows = [(line["what"], *(f"{line[name]:.0e}" for name in head)) for line in lines if (line["pixels"], line["voxels"]) == largest]
    return grid((f"{largest[0]} x {largest[0]} pixels from {largest[1]}³", *head), rows)


def gpu_kernels() -> str:
    """What the image's kernel compiles to."""
    head = ("registers", "spilled bytes", "instructions a sample")
    rows = [(l["kernel"], l["for"], *(l[name] for name in head)) for l in kept("gpu_kernels")["table"] if l["kernel"].startswith("image")]
    return grid(("kernel", "for", *head), rows, text=(0, 1))


def gpu_launches() -> str:
    """What an iteration of the refinement asks of a GPU."""
    head = ("pixels", "similarity", "kernels", "torch operations", "in all", "in all, by torch's own")
    return grid(head, [tuple(line[name] for name in head) for line in kept("gpu_launches")["table"]], text=(1,))


def robustness() -> str:
    """Registrations of images that xrcore did not make."""
    return _robustness(small=False, more={"truth within the 95 % ellipsoid": "truth within 95 % ellipsoid, %"})


def resolution() -> str:
    """Registrations of images of few pixels."""
    return _robustness(small=True, more={})


def _robustness(*, small: bool, more: dict[str, str]) -> str:
    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "success": ("SR %", percent),
        "mTRE median": ("median mTRE mm", mm),
        "drawn median": ("median drawn mm", mm),
        "trusted, of the right": ("trusted, of the right %", percent),
        "trusted and wrong": ("trusted and wrong", str),
        **{head: (name, percent) for head, name in more.items()},
    }
    lines = {line["what was done to the image"]: line for line in kept("robustness")["table"]}
    rows = [
        (name, *("" if line[of] is None else written(line[of]) for of, written in shown.values()))
        for name, line in lines.items()
        if name.endswith("pixels") == small
    ]
    return grid(("", *shown), rows)


MISTAKES = ("half_pixels", "flips", "wrong_carm", "free_intrinsics", "known_object", "far_starts")
OPTIONAL = (tracking, anywhere, startup)
TABLES: dict[str, Callable[[], str]] = {
    "headline": headline, "paper": paper, "ablation": ablation, "readings": readings, "real_xrays": real_xrays, "real_head": real_head,
    "knee": knee, "accuracy": accuracy, "network": network, "network_conditions": network_conditions, "fine_tuning": fine_tuning,
    "wide_ranges": wide_ranges, "throughput": throughput, "truth": truth, "speed": speed, "gpu": gpu, "gpu_precision": gpu_precision,
    "gpu_kernels": gpu_kernels, "gpu_launches": gpu_launches, "robustness": robustness, "resolution": resolution,
} | {name: partial(mistake, name) for name in MISTAKES} | {table.__name__: partial(if_measured, table) for table in OPTIONAL}  # fmt: skip


def numbers() -> dict[str, str]:
    """Measured numbers for sentences, by name, with their units."""
    cases, load = kept("accuracy")["table"], kept("speed")["machine"]
    every = next(line for line in cases if (line["protocol"], line["patient"]) == ("acquired", "all"))
    cameras = paper_table("07_real_xrays-between")
    depth = cameras[["along depth 1 [mm]", "along depth 2 [mm]"]].max().max()
    return {
        "machine": f"{load['cpu']}, {load['cores']} cores",
        "registration_seconds": time(REGISTRATION),
        "registration_mm": mm(every["mTRE median mm"]),
        "paper_mm": f"{paper_table('02_table1_comparison').loc['PSSS', 'mtre_paper']:.2f} mm",
        "predict_ms": f"{max(line['predict ms'] for line in kept('network')['table']):.0f} ms",
        "wrist_depth_mm": f"{depth:.0f} mm",
        "wrist_angle": f"{cameras['angle [deg]'].max():.1f}°",
        **images_seen(),
        **faster_training(),
        **hard_images(),
        **few_images(),
        **origin(),
    }


def images_seen() -> dict[str, str]:
    """Our network alone where it sees every DRR once; and by how much unseen DRRs are worse than those trained on."""
    row = paper_table("04_table3_ablation").rename(columns=_SCORE).loc["A+B+C, every DRR new"]
    gaps = paper_table("04_table3_ablation-gaps")["stage 4"]
    alone = paper_table("02_table1_comparison")["mtre"]
    return {
        "grimm_alone": mm(alone["Grimm 2021, network"]),
        "ours_alone": mm(alone["PSSS, network"]),
        "every_new": f"reaches {score(row)}" if row["seeds"] else "was not trained yet",
        "gap_one_set": f"{gaps['A+B+C']:.1f} mm",
        "gap_extended": f"{gaps['[A+B+C]*']:.1f} mm",
    }


def faster_training() -> dict[str, str]:
    """How many times as many images a second as with torch's layers, images new or of a fixed set."""
    speed = {line["option"]: line["images / s and core"] for line in kept("throughput")["table"]}
    layers, plain = speed["torch's layers"], speed["torch's layers, acquired=false"]
    return {
        "faster": f"{speed['profile laptop'] / layers:.2f}",
        "faster_kept": f"{speed['acquired=false set_size=16'] / plain:.2f}",
    }


def few_images() -> dict[str, str]:
    """The next patient's network at the most images that all were tried with, in a sentence."""
    lines = kept("fine_tuning")["table"]
    patient = lines[-1]["patient"]  # all, if there are several
    mean = {line["begun from"]: line for line in lines if line["patient"] == patient}
    begun = {name: mean[of] for name, of in _BEGUN.items()}
    budgets = [key.removesuffix(": mTRE mm") for key in lines[0] if key.endswith(": mTRE mm")]
    last = [images for images in budgets if all(line[f"{images}: mTRE mm"] is not None for line in begun.values())][-1]
    said = {f"{name}_few": f"{line[f'{last}: mTRE mm']:.1f} mm and {line[f'{last}: SR %']:.0f} %" for name, line in begun.items()}
    return said | {"images_few": f"{int(last):,}", "minutes_few": f"{begun['start'][f'{last}: core minutes']:.0f}"}


def hard_images() -> dict[str, str]:
    """Registrations of images that xrcore did not make, in a sentence."""
    lines = {line["what was done to the image"]: line for line in kept("robustness")["table"]}
    full, other = lines[UNSEEN], lines["X-ray of another patient"]
    return {
        "robust_cases": str(full["cases"]),
        "robust_conditions": str(sum(name in CONDITIONS for name in lines)),
        "robust_unseen": str(len(set(CONDITIONS) - set(SET_ON))),
        "robust_success": percent(full["SR %"]),
        "robust_trusted": percent(full["trusted, of the right %"]),
        "robust_wrong": str(full["trusted and wrong"] + other["trusted and wrong"]),
        "robust_other": str(other["cases"]),
        "robust_note": str(kept("robustness")["note"]),
    }


def origin() -> dict[str, str]:
    """Where the paper's tables come from: trainings, and hours."""
    # of a training that several studies use, the latest; the study of speed trained one that another has errors of
    records = sorted((read_json(path) for path in (RESULTS / PROFILE).glob("*.json")), key=lambda record: str(record["finished"]))
    studies = [record for record in records if record.get("study") != "speed"]
    trained = {name: training for record in studies for name, training in record.get("trainings", {}).items()}
    images = sorted({training["images"] for training in trained.values()})
    there = [training["minutes"] for training in trained.values() if "gpu" in training]
    here = [training["minutes"] for training in trained.values() if "gpu" not in training]
    evaluation = sum(record["minutes"] for record in records)
    night = sum(here) + len(there) * statistics.median(here or [0]) + evaluation
    return {
        "trainings": str(len(trained)),
        "training_hours": f"{sum(here) / 60:.1f}",
        "gpu_trainings": str(len(there)),
        "gpu_minutes": f"{max(there, default=0):.0f}",
        "evaluation_hours": f"{evaluation / 60:.1f}",
        "night_hours": f"{night / 60 / 2:.0f}",
        "images_a_training": " or ".join(f"{count:,}" for count in images),
    }


# reading and writing


def kept(name: str) -> dict[str, Any]:
    """results/NAME.json."""
    found: dict[str, Any] = read_json(RESULTS / f"{name}.json")
    return found


def paper_table(name: str, *index: str) -> pd.DataFrame:
    """A table of the paper as PROFILE made it."""
    return pd.read_csv(RESULTS / PROFILE / "tables" / f"{name}.csv", index_col=list(index) or 0)


def overview() -> pd.DataFrame:
    return paper_table("05_table3_patients-overview")


def time(row: str) -> str:
    """A median of results/speed.json."""
    return seconds(next(line["median"] for line in kept("speed")["table"] if line["what"] == row) / 1e3)


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.15 else f"{1e3 * value:.3g} ms"


def mm(value: float | None) -> str:
    """None: not finite."""
    return "no finite error" if value is None else f"{value:.2f} mm" if value >= 0.005 else "< 0.01 mm"


def millimetres(value: float) -> str:
    """Without the unit."""
    return "" if pd.isna(value) else f"{value:.2f}" if value >= 0.005 else "< 0.01"


def percent(value: float) -> str:
    return f"{value:g} %"


def score(row: pd.Series, suffix: str = "") -> str:
    """mTRE and success; nothing where there is none."""
    return "" if pd.isna(row[f"mtre{suffix}"]) else f"{mm(row[f'mtre{suffix}'])}, {row[f'sr{suffix}']:.1f} %"


def with_aims(lines: Iterable[dict[str, Any]]) -> str:
    """Medians with their units, whether they meet their aims, and remarks."""
    rows = []
    for line in lines:
        aim = f"{line['aim']} {line['unit']}".strip() if line["aim"] else ""
        remark = "; ".join(part for part in (line["how"], line["note"]) if part)
        missed = ", **missed**" if line["met"] is False else ""
        rows.append((line["what"], quantity(line["median"], line["unit"]), aim + missed, remark))
    return grid(("", "median", "aim", ""), rows, text=(0, 3))


def quantity(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "ms" and value >= 150:
        return seconds(value / 1e3)
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}".strip()


def grid(head: Sequence[str], rows: Iterable[Sequence[Any]], *, text: Sequence[int] = (0,)) -> str:
    """A Markdown table. text: the columns that are not numbers."""
    rule = ["---" if column in text else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (head, rule, *rows))


def filled(text: str) -> str:
    """The text with what stands between <!-- NAME --> and <!-- /NAME --> replaced by today's figures."""
    sentences = numbers()

    def figure(found: re.Match[str]) -> str:
        name = found[1]
        if name not in TABLES and name not in sentences:
            raise SystemExit(f"there is no figure {name!r}; choose from {', '.join([*TABLES, *sentences])}")
        return f"<!-- {name} -->" + (f"\n{TABLES[name]()}\n" if name in TABLES else sentences[name]) + f"<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", figure, text, flags=re.DOTALL)


def pages() -> list[Path]:
    """README and the pages of the docs, but for those that a build makes."""
    docs = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "generated"]
    return [ROOT / "README.md", *docs]


def main() -> None:
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := filled(text)) != text:
            with atomic_file(page) as temporary:
                temporary.write_text(new, encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
