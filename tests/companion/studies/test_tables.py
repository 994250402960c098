"""The paper's tables from results: closed forms and made-up results, how sure a mean is, and what the notebooks may not hold."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import t as student

from companion.figures.dot_plots import ablation_figure, speed_figure
from companion.figures.error_distributions import cumulative_figure, patients_figure
from companion.figures.paper_figures import attention_figure, refinement_figure
from companion.paper import TABLES, paper_table
from companion.studies import tables
from companion.studies.ablation import REFINED, REFINED_BY_ADAM
from companion.studies.cases import ADAM, ADAM_RELEASED, DESCENT, GRIMM, NETWORK, OURS
from companion.studies.intervals import by_seed_and_case, difference, estimate, verdict
from companion.studies.speed import REGISTRATION
from companion.studies.table_format import MISSING, Shown, between, duration, interval, number, spread, with_reasons
from companion.workflow.plan import VARIANTS
from xrcore._util.errors import XrcoreError
from xrcore.geometry.pose import NAMES

NOTEBOOKS = sorted(path for path in (Path(__file__).parents[3] / "notebooks").glob("0[2-8]_*.ipynb") if path.stem != "07_real_xrays")


def made_up(method: str, mtre: np.ndarray, *, seed: int = 0, patient: str = "1", protocol: str = "paper") -> pd.DataFrame:
    """Results of a method, a row a case, as studies keep them."""
    cases = pd.DataFrame({"method": method, "patient": patient, "test_set": "t", "protocol": protocol, "case": range(len(mtre))})
    cases[["mtre_mm", "mpd_mm", "pd_mm"]] = np.outer(mtre, [1.0, 0.5, 0.25])
    for place, name in enumerate(NAMES):
        cases[f"error_{name}"] = -mtre * (place + 1)
    likeness = {"ncc": 1 - mtre / 100, "ssim": 0.9 - mtre / 100, "css": 0.95 - mtre / 100}
    return cases.assign(**likeness, seconds=1.0, trusted=True, seed=seed)


def grid(values: object) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(values, float))


def ablation(effect: dict[str, float], seeds: int = 3, poses: int = 200) -> pd.DataFrame:
    """Every row of the ablation: hard poses and lucky seeds that all rows share, and an effect [mm] of each row's own."""
    draw = np.random.default_rng(3)
    hard = draw.lognormal(1.5, 0.5, poses)
    rows = []
    for seed in range(seeds):
        for label in [*(v.label for v in VARIANTS), REFINED, REFINED_BY_ADAM]:
            noise = draw.normal(0, 0.1, poses)
            rows.append(made_up(label, np.abs(10 + hard + seed + effect.get(label, 0.0) + noise), seed=seed))
    return pd.concat(rows, ignore_index=True)


# how sure a mean is


def test_one_seed_gives_the_textbook_interval_over_poses():
    values = np.random.default_rng(0).normal(5, 2, (1, 12))
    found = estimate(grid(values))
    reach = student.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach))
    assert (found.seeds, found.poses) == (1, 12)


def test_seeds_that_agree_on_every_pose_still_leave_the_poses_to_chance():
    values = np.random.default_rng(0).normal(5, 2, 12)
    one, three = estimate(grid([values])), estimate(grid([values] * 3))
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


def test_seeds_that_differ_everywhere_alike_leave_only_themselves_to_chance():
    found = estimate(grid(np.array([[1.0], [2.0], [4.0]]) + np.zeros(50)))
    assert found.high - found.mean == pytest.approx(student.ppf(0.975, 2) * np.std([1, 2, 4], ddof=1) / np.sqrt(3))


@pytest.mark.parametrize(("seeds", "poses"), [(3, 40), (1, 40), (5, 8)])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(seeds, poses):
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        luck = draw.normal(0, 1, (seeds, 1)) if seeds > 1 else 0.0
        found = estimate(grid(7 + luck + draw.normal(0, 2, (1, poses)) + draw.normal(0, 1, (seeds, poses))))
        covered += found.low <= 7 <= found.high
    assert covered / 300 >= 0.91  # resampling three seeds would reach 0.8


def test_what_tells_no_spread_has_no_interval():
    found = estimate(grid([[3.0]]))
    assert found.mean == 3
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(estimate(grid([[np.nan, np.nan]])).mean)


def test_a_difference_is_paired_and_leaves_out_what_one_side_lacks():
    before = grid(np.random.default_rng(0).lognormal(3, 1, (2, 30)))
    after = before - 0.5
    after.iloc[:, 20:] = np.nan
    found = difference(before, after)
    assert (found.mean, found.low, found.high) == pytest.approx((-0.5, -0.5, -0.5), abs=1e-9)
    assert found.poses == 20


@pytest.mark.parametrize(("shift", "says"), [(-1.0, "helps"), (1.0, "hurts"), (0.0, "not decided")])
def test_verdicts(shift, says):
    noise = np.random.default_rng(2).normal(0, 1, (3, 100))
    assert verdict(estimate(grid(noise - noise.mean() + shift))) == says


def test_a_case_that_is_there_twice_is_refused():
    cases = made_up("A", np.ones(3))
    with pytest.raises(XrcoreError, match="twice"):
        by_seed_and_case(pd.concat([cases, cases]))


# the paper's tables


def test_columns_of_table_3_in_closed_form():
    table = tables.in_columns(made_up("A", np.array([1.0, 3.0, 20.0, np.nan])), ["method"])
    row = table.loc["A"]
    assert row["mtre_mean"] == pytest.approx(8)
    assert row["mtre_std"] == pytest.approx(np.std([1, 3, 20]))
    assert row["tz_mean"] == pytest.approx(8 * 6)  # absolute, though the errors are negative
    assert row["sr_percent"] == 50  # no answer is no success
    assert row["cases"] == 4


def test_the_ablation_confirms_what_is_there_and_decides_nothing_else():
    order = tables.steps(ablation({"A+B": -1.0, "A+C": 1.0, REFINED: -9.0, REFINED_BY_ADAM: -9.0}))
    assert order.loc["B, the edge decoder", "verdict"] == "helps"
    assert order.loc["C, attention", "verdict"] == "hurts"
    assert order.loc["D, refinement", "verdict"] == "helps"
    assert order.loc["our D, not the paper's Adam", "verdict"] == "not decided"
    assert order.loc["B, the edge decoder", "difference"] == pytest.approx(-1, abs=0.05)
    assert order.loc["B, the edge decoder", "seeds_helped"] == 3
    assert (order["verdict_paper"].iloc[:5] == "helps").all()
    assert (order["percent_low"] >= -100).all()


def test_rows_of_the_ablation_stand_beside_the_paper():
    table = tables.table3_parts(ablation({}))
    paper = paper_table("table3_ablation_and_patients")
    assert table.loc["A+B", "tz_std_paper"] == paper.loc["A+B", "tz_std"]
    assert np.isnan(table.loc[REFINED_BY_ADAM, "mtre_mean_paper"])
    assert (table["seeds"] == 3).all()
    both = tables.beside(table)
    assert both.loc[("A", "paper"), "mpd_mean"] == paper.loc["A", "mpd_mean"]
    assert both.loc[("A", "here"), "mpd_mean"] == table.loc["A", "mpd_mean"]
    assert len(both) == len(table) + 6


def test_results_without_a_row_are_refused():
    with pytest.raises(XrcoreError, match=r"no cases of A\+B"):
        tables.table3_parts(ablation({}).query("method != 'A+B'"))


def test_table_1_takes_the_network_alone_from_table_3():
    methods = ("PSSS", "PSSS, network", "Salehi 2018", "Grimm 2021", "Grimm 2021, network")
    table = tables.table1(pd.concat([made_up(method, np.array([1.0, 2.0, 30.0])) for method in methods]))
    paper = paper_table("table3_ablation_and_patients").loc["[A+B+C]*"]
    assert table.loc["PSSS, network", "mtre_paper"] == paper["mtre_mean"]
    assert table.loc["PSSS", "mtre_paper"] == paper_table("table1_comparison_drr").loc["PSSS", "mtre_mm"]
    assert table.loc["Grimm 2021", "mtre"] == 11
    assert table.loc["Grimm 2021", "sr_low"] < 100 * 2 / 3 < table.loc["Grimm 2021", "sr_high"]


def cases_with_ball(count: int = 10) -> pd.DataFrame:
    methods = (NETWORK, GRIMM, ADAM, ADAM_RELEASED, DESCENT, OURS)
    return pd.concat([made_up(method, np.arange(1.0, count + 1) + place) for place, method in enumerate(methods)], ignore_index=True)


def test_table_2_stands_beside_the_papers_rows():
    table = tables.table2(cases_with_ball())
    assert table.loc[GRIMM, "ncc_paper"] == paper_table("table2_refinement_xray").loc["Grimm 2021 refinement", "ncc"]
    assert table.loc[OURS, "ncc_paper"] == table.loc[ADAM, "ncc_paper"] > table.loc[GRIMM, "ncc_paper"]
    assert table.loc[NETWORK, "mtre_mm"] == 5.5


def test_table_4_has_the_population_std_here_as_in_the_paper():
    table = tables.table4(cases_with_ball(4), NETWORK)
    assert table.loc[("PD", "here"), "std"] == pytest.approx(0.25 * np.sqrt(1.25))
    assert table.loc[("PD", "here"), "mean"] == pytest.approx(0.625)
    assert np.isnan(table.loc[("PD", "here"), "case5"])
    assert list(table.columns) == [*(f"case{i}" for i in range(1, 11)), "mean", "std"]
    for measure in ("PD", "NCC", "SSIM", "CSS"):
        of_paper = table.loc[(measure, "paper"), "case1":"case10"].to_numpy(float)
        assert table.loc[(measure, "paper"), "std"] == pytest.approx(of_paper.std(), abs=2e-4)


def six_patients() -> pd.DataFrame:
    return pd.concat(
        [
            made_up(method, np.full(4, 1.0 + place), patient=patient, protocol=protocol)
            for place, patient in enumerate(("1", "2", "3", "4", "5", "6#"))
            for method in ("network", "refined")
            for protocol in ("paper", "acquired")
        ],
        ignore_index=True,
    )


def test_each_patient_stands_beside_the_one_of_its_place_and_the_implant_beside_the_implant():
    paper = paper_table("table3_ablation_and_patients")
    table = tables.table3_patients(six_patients())
    for patient in ("1", "2", "6#"):
        assert table.loc[(patient, "paper"), "mtre_mean"] == paper.loc[f"dataset{patient}", "mtre_mean"]
    two = six_patients().query("patient in ('2', '6#')").replace({"patient": {"2": "phantom-0", "6#": "phantom-1#"}})
    table = tables.table3_patients(two)
    assert table.loc[("phantom-0", "paper"), "mtre_mean"] == paper.loc["dataset1", "mtre_mean"]
    assert table.loc[("phantom-1#", "paper"), "mtre_mean"] == paper.loc["dataset6#", "mtre_mean"]


def test_the_overview_weighs_patients_alike():
    overview = tables.patients_overview(six_patients())
    row = overview.loc["refined, as acquired"]
    assert (row["mtre"], row["mtre_worst_patient"], row["patients"], row["cases"]) == (3.5, 6, 6, 24)
    assert np.isnan(overview.loc["network alone, as acquired", "mtre_paper"])
    with pytest.raises(XrcoreError, match="as acquired"):
        tables.patients_overview(six_patients().query("protocol == 'paper'"))


def timed(pixels: int) -> pd.DataFrame:
    names = ("image", "image and Jacobian", "image, one material, one energy", "nanodrr, one material", REGISTRATION)
    rows = [{"what": n, "median_ms": 10.0 * (i + 1), "min_ms": 9.0, "max_ms": 90.0, "repeats": 3} for i, n in enumerate(names)]
    return pd.DataFrame(rows).assign(pixels=pixels)


def test_speed_is_held_against_the_headlines_and_peers_against_our_same_work():
    table = tables.speed(timed(256), training_minutes=30.0)
    headlines = paper_table("headlines")["value"]
    assert table.loc["image", "of_paper"] == pytest.approx(10 / headlines["one 256 x 256 image"])
    assert table.loc[REGISTRATION, "paper_ms"] == 1000 * headlines["whole registration"]
    assert table.loc["training", "of_paper"] == pytest.approx(0.5 / headlines["training"])
    assert table.loc["nanodrr, one material", "times_ours"] == pytest.approx(4 / 3)
    assert np.isnan(tables.speed(timed(128)).loc["image", "of_paper"])


def test_cases_to_show_are_chosen_by_rank():
    cases = made_up(OURS, np.array([5.0, 1.0, 9.0, np.nan, 3.0]))
    assert tables.typical(cases, OURS) == [0]
    assert tables.typical(cases, OURS, 3) == [1, 0, 3]  # no answer is the worst
    assert tables.typical(cases.head(2), OURS, 3) == [1, 0]


# as they are shown


def test_texts():
    table = pd.DataFrame({"a": [1.234, 1e-4, np.nan], "a_low": [1.0, 1e-5, np.nan], "a_high": [2.0, 1e-3, np.nan]})
    assert number(table["a"], 2).to_list() == ["1.23", "< 0.01", MISSING]
    assert number(pd.Series([-1e-9, 0.0]), 2).to_list() == ["0.00", "0.00"]
    assert interval(table, "a", 2).to_list() == ["1.23 (1.00 to 2.00)", "< 0.01", MISSING]
    assert between(table, "a", 1).to_list()[::2] == ["1.0 to 2.0", MISSING]
    assert spread(pd.DataFrame({"b_mean": [2.0], "b_std": [0.5]}), "b", 1).to_list() == ["2.0 ± 0.5"]
    assert duration(pd.Series([12.0, 2500.0, 90_000.0, 3.6e6])).to_list() == ["12.0 ms", "2.5 s", "1.5 min", "1.0 h"]


def test_a_shown_table_does_not_depend_on_pandas_options_and_escapes():
    shown = Shown({"why": pd.Series({"row": "a < b " * 30})}, index="method")
    with pd.option_context("display.max_colwidth", 10, "display.width", 20):
        assert "a < b " * 29 in repr(shown)
        html = shown._repr_html_()
    assert "a &lt; b" in html
    assert "a < b" not in html


def test_reasons_are_given_for_every_row_and_for_no_other():
    table = pd.DataFrame({"x": [1]}, index=["A"])
    assert with_reasons(table, {"A": "because"}).loc["A", "why"] == "because"
    with pytest.raises(XrcoreError, match=r"without a row: \['B'\]"):
        with_reasons(table, {"A": "because", "B": "?"})
    with pytest.raises(XrcoreError, match=r"without a reason: \['A'\]"):
        with_reasons(table, {})


# figures


def drawn(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    ticks = [text.get_text() for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return ticks + [axes.get_title(loc="left") for axes in figure.axes]


def test_every_figure_draws_and_names_what_it_shows():
    parts = ablation({REFINED: -8.0})
    assert {"A+B+C", "D, refinement"} <= set(drawn(ablation_figure(tables.table3_parts(parts), tables.steps(parts))))
    table = tables.speed(timed(256), 1.0)
    assert set(drawn(speed_figure(table, tables.kinds(table)))) >= {"image", "nanodrr, one material"}
    patients = ["1", "2", "6#"]
    figure = patients_figure({"as acquired": six_patients()}, patients, {"1": 2.0})
    assert "patient 6#" in drawn(figure)
    errors = {"one": pd.Series([1.0, 0.0, np.nan]), "two": pd.Series([3.0])}
    figure = cumulative_figure(errors, {"one": 2.0})
    assert "one" in drawn(figure)
    shares = figure.axes[0].lines[0].get_ydata()
    assert max(shares) == pytest.approx(200 / 3)  # what has no answer is never below an error


def pictures(count: int = 3) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    mask = np.hypot(*(np.indices((48, 48)) - 23.5)) < 22
    return {
        "methods": np.array([NETWORK, GRIMM, ADAM, OURS]),
        "fixed": draw.integers(0, 255, (count, 48, 48)).astype(np.uint8),
        "mask": np.stack([mask] * count),
        "moving": draw.integers(0, 255, (count, 4, 48, 48)).astype(np.uint8),
        "attention": draw.random((count, 6, 6)).astype(np.float16),
    }


def test_figures_of_cases_say_that_the_x_rays_are_simulated():
    images, cases = pictures(), cases_with_ball(3)
    paper = tables.table2(cases)[["ncc_paper", "ssim_paper", "css_paper"]].set_axis(["ncc", "ssim", "css"], axis=1)
    figure = refinement_figure(images, 1, cases, paper, {NETWORK: "start", GRIMM: "theirs", ADAM: "Adam", OURS: "ours"})
    assert {"start", "SSIM"} <= set(drawn(figure))
    texts = [text.get_text() for part in (figure, *figure.subfigs) for legend in part.legends for text in legend.get_texts()]
    assert any("simulated" in text for text in texts)
    figure = attention_figure(images, [(0, "a"), (2, "b")], initial=NETWORK, final=OURS)
    assert any("simulated" in text for text in drawn(figure))
    assert len(figure.axes) == 8


# the notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_takes_a_profile_and_nothing_else(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (parameters,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    (statement,) = ast.parse("".join(parameters["source"])).body
    assert isinstance(statement, ast.Assign)
    assert statement.targets[0].id == "profile"  # type: ignore[attr-defined]
    assert ast.literal_eval(statement.value) in ("smoke", "laptop", "paper")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_value_of_the_paper_is_written_in_a_notebook(path):
    """But round ones, which mean other things too."""
    told = {f"{value:g}" for name in TABLES for value in paper_table(name).select_dtypes("number").to_numpy().ravel()}
    told = {value for value in told if "." in value}
    sources = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    written = {f"{float(number):g}" for source in sources for number in re.findall(r"\d+\.\d+", source)}
    assert len(told) > 50
    assert not written & told


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_its_table_and_figure_and_names_where_they_come_from(path):
    source = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    assert f'Report("{path.stem}", profile)' in source
    for call in ("report.keep_table(", "report.keep_figure(", "report.origin_in_words(", "report.smoke"):
        assert call in source
