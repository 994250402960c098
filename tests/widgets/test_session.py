"""Session: one registration as it goes on, driven from Python; what it keeps, forgets, refuses and writes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import xrcore as xr
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.xray import Xray, write_carm, write_xray

pytest.importorskip("traitlets", reason="the widgets need the extra 'notebooks'")

from support.ct_files import write_pelvis

from xrcore.widgets import CtFile, Session, volume_sources
from xrcore.widgets.volume_sources import SPACING

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
OTHER = CArm(source_to_detector=1000.0, source_to_isocenter=600.0, shape=(48, 80), pixel_spacing=5.0)
POSE = Pose(rx=1.0, tx=2.0)
TRUTH = Pose(rx=3.0, ry=-5.0, rz=2.0, tx=6.0, ty=-7.0, tz=8.0)
STATE = ("volume", "carm", "beam", "numbers", "patient", "xray", "truth", "history", "result", "stage", "running", "start", "notes")

pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def volume(seed: int = 3, spacing: float = 8.0) -> xr.Volume:
    return xr.phantom.pelvis(seed=seed, spacing=spacing)


@functools.cache
def drr(carm: CArm = CARM) -> Xray:
    return Xray(image=xr.render(volume(), carm, TRUTH)[0], carm=carm)


@pytest.fixture
def session() -> Session:
    return Session(volume(), carm=CARM)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ct.nii.gz and another.nii.gz; the X-ray as DICOM, without and with its pose, and as PNG with carm.yaml; and files that are none."""
    folder = tmp_path_factory.mktemp("files")
    for name, seed in (("ct", 3), ("another", 5)):
        write_pelvis(folder / f"{name}.nii.gz", seed, 8.0)
    write_carm(folder / "carm.yaml", CARM)
    write_carm(folder / "other.yaml", OTHER)
    write_xray(folder / "xray.dcm", drr())
    write_xray(folder / "posed.dcm", replace(drr(OTHER), pose=TRUTH))
    write_xray(folder / "xray.png", drr())
    (folder / "nonsense.png").write_bytes(b"no picture")
    (folder / "nonsense.nii.gz").write_bytes(b"no CT")
    return folder


def run(session: Session) -> Any:
    return asyncio.run(session.run())


def kept(session: Session) -> list[Any]:
    return [getattr(session, name) for name in STATE]


def unchanged(session: Session, before: list[Any]) -> None:
    for name, value in zip(STATE, before, strict=True):
        assert getattr(session, name) is value or getattr(session, name) == value, name


# a registration


def test_a_simulated_xray_is_registered_to_its_truth(monkeypatch):
    monkeypatch.setattr("xrcore.widgets.session._FRAME", 0.0)  # each step is shown, however quick the machine
    monkeypatch.setattr("xrcore.widgets.session._WORK", 0.0)
    session = Session(volume(spacing=4.0), carm=CARM)
    session.simulate(TRUTH)
    assert session.truth == TRUTH
    assert session.pose == session.start == Pose.zero()
    assert session.errors(session.pose)[0] > 10
    seen: list[Pose] = []
    session.observe(lambda _: seen.append(session.pose), names="numbers")
    result = run(session)
    assert result is session.result
    assert result.trusted
    assert session.pose == result.pose == seen[-1]
    assert not session.running
    assert session.stage == ""
    assert session.errors(result.pose)[0] < 3.0  # less than a voxel
    assert max(session.errors(TRUTH)) < 1e-4
    assert session.history[-1].similarity == pytest.approx(result.similarity)
    assert len(seen) > 1  # it could be watched


def test_the_seed_draws_pose_and_noise(session: Session):
    drawn = []
    for seed in (0, 0, 1):
        session.simulate(seed=seed)
        drawn.append((session.truth, session.xray))
    assert drawn[0][0] == drawn[1][0] != drawn[2][0]
    assert torch.equal(drawn[0][1].image, drawn[1][1].image)
    session.simulate(drawn[0][0], seed=2)
    assert not torch.equal(drawn[0][1].image, session.xray.image)


def test_the_session_registers_as_the_library_does():
    session = Session(volume(), drr())
    session.pose = Pose(ry=2.0)
    result = run(session)
    alone = xr.register(drr(), volume(), Pose(ry=2.0))
    assert result.pose == alone.pose
    assert result.initial == session.start == Pose(ry=2.0)
    assert torch.equal(result.covariance, alone.covariance)


def test_method_and_similarity_are_those_chosen(session: Session):
    session.simulate(TRUTH)
    session.method, session.similarity = "lbfgs", "wlmi"
    result = run(session)
    assert (result.method, result.similarity_name) == ("lbfgs", "wlmi")
    session.method, session.similarity = "gauss-newton", "wlmi"  # has no residual
    with pytest.raises(XrcoreError, match="residual"):
        run(session)
    assert session.result is None
    assert not session.running
    assert session.stage == ""


def test_without_an_xray_there_is_nothing_to_register(session: Session):
    with pytest.raises(XrcoreError, match="no X-ray"):
        run(session)
    assert not session.running


def stop_after(session: Session, steps: int) -> list[Pose]:
    shown: list[Pose] = []

    def moved(_: Any) -> None:
        shown.append(session.pose)
        if len(shown) == steps:
            session.stop()

    session.observe(moved, names="numbers")
    return shown


def test_stopped_it_keeps_the_pose_and_has_no_result(session: Session):
    session.simulate(TRUTH)
    session.pace = 0.001  # every better pose is shown
    shown = stop_after(session, 2)
    assert run(session) is None
    assert session.result is None
    assert session.stage == "stopped"
    assert not session.running
    assert session.pose == session.history[-1].pose == shown[-1] != Pose.zero()
    assert len(shown) <= 3
    assert torch.is_grad_enabled()
    session.unobserve_all("numbers")
    assert run(session) is not None  # and it can go on from here
    assert session.start == shown[-1]
    assert session.stage == ""


def test_cancelled_from_outside_it_can_run_again(session: Session):
    session.simulate(TRUTH)
    session.pace = 0.05

    async def main() -> None:
        task = asyncio.create_task(session.run())
        while not session.history:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    threads = torch.get_num_threads()
    asyncio.run(main())
    assert not session.running
    assert session.result is None
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    session.pace = 0.0
    assert run(session) is not None


def test_while_it_runs_everything_that_would_disturb_it_is_refused(session: Session, files: Path):
    session.simulate(TRUTH)
    session.pace = 0.05
    refused: list[str] = []

    async def main() -> Any:
        task = asyncio.create_task(session.run())
        while not session.history:
            await asyncio.sleep(0.001)
        assert session.running
        assert torch.is_grad_enabled()  # the registration's own settings stay its own
        before = session.xray, session.volume, session.carm, session.truth
        with pytest.raises(XrcoreError, match="running"):
            await session.run()
        contents = {"x.dcm": (files / "xray.dcm").read_bytes()}
        acts: list[Callable[[], None]] = [
            lambda: session.simulate(),
            lambda: session.choose(CtFile(files / "ct.nii.gz")),
            lambda: session.read_ct(files / "ct.nii.gz"),
            lambda: session.read_xray(files / "xray.dcm"),
            lambda: session.receive_xray(contents),
        ]
        for act in acts:
            with pytest.raises(XrcoreError, match="stop it first") as error:
                act()
            refused.append(str(error.value))
        assert session.running
        assert (session.xray, session.volume, session.carm, session.truth) == before
        session.pace = 0.0
        return await task

    assert asyncio.run(main()) is session.result is not None
    assert len(set(refused)) == 1


def test_other_coroutines_run_in_between(session: Session):
    session.simulate(TRUTH)
    turns = 0

    async def main() -> None:
        nonlocal turns
        task = asyncio.create_task(session.run())
        while not task.done():
            turns += session.running
            await asyncio.sleep(0)

    asyncio.run(main())
    assert turns > 3


def test_seconds_do_not_count_what_the_page_does():
    session = Session(volume(), drr())
    slept = 0.0

    def dawdle(_: Any) -> None:
        nonlocal slept
        began = time.perf_counter()
        time.sleep(0.3)
        slept += time.perf_counter() - began

    session.observe(dawdle, names="stage")
    began = time.perf_counter()
    result = run(session)
    assert result.seconds < time.perf_counter() - began - slept


def test_two_sessions_run_beside_each_other():
    sessions = [Session(volume(), drr()) for _ in range(2)]

    async def main() -> list[Any]:
        return await asyncio.gather(*(session.run() for session in sessions))

    threads = torch.get_num_threads()
    one, other = asyncio.run(main())
    assert one.pose == other.pose
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


# observers


def test_observers_see_an_xray_with_the_carm_that_fits(session: Session, files: Path):
    seen = []
    session.observe(lambda _: seen.append((session.xray, session.carm, session.pose)), names=["xray", "carm", "numbers", "truth"])
    session.simulate(TRUTH)
    session.read_xray(files / "posed.dcm")
    session.read_xray(files / "xray.png", files / "carm.yaml")
    session.read_ct(files / "ct.nii.gz")
    session.xray = replace(drr(OTHER), pose=TRUTH)
    assert len(seen) > 6
    for xray, carm, pose in seen:
        assert xray is None or xray.carm is carm
        assert xray is None or xray.pose is None or pose == xray.pose


def test_observers_of_a_result_see_its_pose_and_its_history(session: Session):
    session.simulate(TRUTH)
    seen = []
    session.observe(lambda change: seen.append((change["new"], session.pose, session.history)), names="result")
    result = run(session)
    [(told, pose, history)] = [entry for entry in seen if entry[0] is not None]
    assert told is result
    assert pose == result.pose
    assert history == session.history


def test_observers_of_the_history_see_the_pose_it_ends_with():
    session = Session(volume(), drr())
    session.pace = 0.001
    seen = []
    session.observe(lambda _: seen.append((session.running, session.history, session.pose)), names="history")
    run(session)
    assert len(seen) > 3
    for running, history, pose in seen:
        assert not history or pose == history[-1].pose or (running and pose == session.result.pose)


def test_a_new_patient_and_no_xray_are_told_together(session: Session):
    session.simulate(TRUTH)
    seen = []
    session.observe(lambda _: seen.append((session.xray, session.volume is volume(3))), names=["volume", "xray"])
    session.choose(Source(volume(5)))
    assert seen == [(None, False)] * 2


# where things come from


class Source:
    """A patient that exists at the spacings asked for."""

    def __init__(self, given: xr.Volume) -> None:
        self.given, self.asked = given, list[float]()

    def volume(self, spacing: float) -> xr.Volume:
        self.asked.append(spacing)
        return self.given


class Broken:
    def volume(self, spacing: float) -> xr.Volume:
        raise XrcoreError("there is no such CT")


def test_a_simulated_xray_is_of_a_finer_patient():
    source = Source(volume())
    session = Session(source, carm=CARM)
    assert source.asked == [SPACING]
    session.simulate(TRUTH)
    assert source.asked[-1] < SPACING


def test_another_patient_takes_xray_and_result_away(session: Session):
    session.simulate(TRUTH)
    run(session)
    session.choose(Source(volume(5)))
    assert session.volume is volume(5)
    assert session.xray is session.result is None
    assert session.history == ()
    assert session.carm is CARM


def test_another_patient_has_no_truth(session: Session):
    session.simulate(TRUTH)
    session.choose(Source(volume(5)))
    assert session.truth is None
    assert session.errors(session.pose) is None


def test_a_chosen_patient_is_not_said_to_be_the_file_read_before(session: Session, files: Path, tmp_path: Path):
    session.read_ct(files / "ct.nii.gz")
    session.choose(Source(volume()))
    session.simulate(TRUTH)
    run(session)
    session.save(tmp_path)
    assert "ct.nii.gz" not in (tmp_path / "registration.json").read_text()


def test_an_xray_without_carm_yaml_is_not_said_to_have_one(session: Session, files: Path, tmp_path: Path):
    session.read_xray(files / "xray.png", files / "carm.yaml")
    session.read_xray(files / "xray.dcm")
    run(session)
    session.save(tmp_path)
    assert "carm" not in json.loads((tmp_path / "registration.json").read_text())["inputs"]


def test_remarks_about_a_ct_are_heard_where_an_xray_stays(session: Session, files: Path, monkeypatch: pytest.MonkeyPatch):
    def remark(*_: Any, **__: Any) -> xr.Volume:
        return replace(volume(), notes=("the CT is upside down",))

    monkeypatch.setattr(volume_sources, "read_ct", remark)
    session.read_ct(files / "ct.nii.gz")
    assert session.notes == ("the CT is upside down",)
    session.read_xray(files / "xray.dcm")
    assert session.notes == ("the CT is upside down", *session.xray.notes)
    session.read_ct(files / "ct.nii.gz")
    assert session.notes == ("the CT is upside down", *session.xray.notes)
    session.simulate(TRUTH)
    assert session.notes == ("the CT is upside down", *session.xray.notes)
    assert session.xray.notes


def test_the_start_is_that_of_this_xray(session: Session):
    session.simulate(TRUTH)
    session.pose = Pose(ry=2.0)
    run(session)
    assert session.start == Pose(ry=2.0)
    session.simulate(seed=4)
    assert session.start == Pose.zero()


def test_another_ct_keeps_an_xray_from_a_file_but_not_a_simulated_one(session: Session, files: Path):
    session.read_xray(files / "xray.dcm")
    xray = session.xray
    run(session)
    session.read_ct(files / "another.nii.gz")
    assert session.xray is xray
    assert session.result is None
    assert session.volume is not volume()
    session.simulate(TRUTH)
    session.read_ct(files / "ct.nii.gz")
    assert session.xray is None


def test_an_xray_brings_its_geometry_and_its_pose(session: Session, files: Path):
    session.simulate(TRUTH)
    session.pose = Pose(rx=4.0)
    session.read_xray(files / "xray.dcm")
    assert session.carm == CARM
    assert session.pose == Pose(rx=4.0)  # the file does not say where from
    assert session.truth is None
    session.read_xray(files / "posed.dcm")
    assert session.carm == OTHER
    torch.testing.assert_close(session.pose.numbers, TRUTH.numbers)
    session.read_xray(files / "xray.png", files / "carm.yaml")
    assert session.carm == CARM
    assert Session(volume(), replace(drr(), notes=("worth knowing",))).notes == ("worth knowing",)


def test_an_xray_that_is_assigned_is_taken_as_one_that_is_read(session: Session, tmp_path: Path):
    session.simulate(TRUTH)
    session.xray = drr(OTHER)
    assert session.carm is session.xray.carm
    assert session.truth is None
    run(session)
    session.save(tmp_path)
    assert "simulated" not in json.loads((tmp_path / "registration.json").read_text())["options"]
    session.xray = replace(drr(), pose=POSE, notes=("worth knowing",))
    assert session.pose == session.start == POSE
    assert session.notes == ("worth knowing",)
    session.simulate(TRUTH)
    session.xray = None
    assert session.truth is None
    assert session.notes == ()


def test_bad_files_leave_everything_as_it_was(session: Session, files: Path):
    session.read_xray(files / "xray.dcm")
    run(session)
    session.pose = Pose(ry=1.0)
    before = kept(session)
    written = dict(session._files)
    png, yaml = (files / "xray.png").read_bytes(), (files / "carm.yaml").read_bytes()
    acts: list[Callable[[], None]] = [
        lambda: session.read_xray(files / "nonsense.png", files / "carm.yaml"),
        lambda: session.read_xray(files / "xray.png"),
        lambda: session.read_xray(files / "xray.png", files / "absent.yaml"),
        lambda: session.read_xray(files / "xray.png", files / "other.yaml"),
        lambda: session.read_xray(files / "absent.dcm"),
        lambda: session.read_xray(files),
        lambda: session.read_xray(""),
        lambda: session.read_ct(files / "nonsense.nii.gz"),
        lambda: session.read_ct(files / "absent.nii.gz"),
        lambda: session.read_ct(files / "xray.png"),
        lambda: session.choose(Broken()),
        lambda: session.receive_xray({}),
        lambda: session.receive_xray({"x.png": b"no picture", "carm.yaml": yaml}),
        lambda: session.receive_xray({"x.png": png}),
        lambda: session.receive_xray({"x.png": png, "carm.yaml": b"source_to_detector: much"}),
        lambda: session.receive_xray({"carm.yaml": yaml}),
        lambda: session.receive_xray({"x.png": png, "y.png": png, "carm.yaml": yaml}),
        lambda: session.receive_xray({"x.png": png, "a.yaml": yaml, "b.yml": yaml}),
    ]
    for act in acts:
        with pytest.raises(XrcoreError) as error:
            act()
        assert "\n" not in str(error.value)
        assert "/tmp" not in str(error.value).replace(str(files), "")  # nothing of where uploads are put
        unchanged(session, before)
        assert session._files == written


def test_no_path_is_no_ct(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(XrcoreError):
        session.read_ct("")


# uploads


def upload(files: Path, *names: str) -> dict[str, bytes]:
    return {name: (files / Path(name).name).read_bytes() for name in names}


@pytest.mark.parametrize("names", [("xray.dcm",), ("xray.png", "carm.yaml"), ("carm.yaml", "xray.png")])
def test_an_upload_is_as_good_as_a_file(session: Session, files: Path, names: tuple[str, ...]):
    image = next(name for name in names if name.startswith("xray"))
    session.read_xray(files / image, files / "carm.yaml" if len(names) > 1 else None)
    read, prints = session.xray, session._files
    session.receive_xray(upload(files, *names))
    assert session.xray is not read
    assert torch.equal(session.xray.image, read.image)
    assert session.carm == read.carm
    # the same files, by name: where they were put for a moment means nothing
    assert session._files == {what: {**said, "path": Path(said["path"]).name} for what, said in prints.items()}


@pytest.mark.parametrize("place", ["../../", "/tmp/", "a/b/", "..\\"])
def test_names_lead_nowhere(session: Session, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(inner))
    session.receive_xray({f"{place}x.png": (files / "xray.png").read_bytes(), f"{place}c.yaml": (files / "carm.yaml").read_bytes()})
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("name", ["x", "Röntgen bild.dcm"])
def test_a_name_is_taken_as_it_comes(session: Session, files: Path, name: str):
    session.receive_xray({name: (files / "xray.dcm").read_bytes()})
    assert session.xray is not None


@pytest.mark.parametrize("name", ["..", "", ".", "x\0.dcm", "x" * 300 + ".dcm"])
def test_a_name_that_no_file_can_have_is_refused_or_replaced(session: Session, files: Path, name: str):
    with contextlib.suppress(XrcoreError):
        session.receive_xray({name: (files / "xray.dcm").read_bytes()})
        assert session.xray is not None


# what is written

# what differs between the two by right: times, and the options that only one of them has
_ITS_OWN = ("seconds", "stages", "options", "files")  # the overlay shows the seconds


def test_save_writes_what_the_command_line_writes(run: Callable[..., Any], files: Path, tmp_path: Path):
    start = "1,-3,1,3,-3,4"
    session = Session(CtFile(files / "ct.nii.gz"), carm=CARM)
    session.read_ct(files / "ct.nii.gz")
    session.read_xray(files / "xray.png", files / "carm.yaml")
    session.pose = Pose([float(n) for n in start.split(",")])
    asyncio.run(session.run())
    written = session.save(tmp_path / "session")
    command = ("register", files / "ct.nii.gz", files / "xray.png", "--carm", files / "carm.yaml", "--initial", start)
    assert run(*command, "--out", tmp_path / "line").code in (0, 3)
    assert sorted(p.name for p in written) == sorted(p.name for p in (tmp_path / "line").iterdir())
    assert all(path.is_file() for path in written)
    one, other = (json.loads((tmp_path / name / "registration.json").read_text()) for name in ("session", "line"))
    assert one.keys() == other.keys()
    for key in one.keys() - set(_ITS_OWN):
        assert one[key] == other[key], key
    assert one["options"].items() <= other["options"].items()
    assert (tmp_path / "session" / "camera_from_ct.tfm").read_bytes() == (tmp_path / "line" / "camera_from_ct.tfm").read_bytes()
    with Image.open(tmp_path / "session" / "overlay.png") as one, Image.open(tmp_path / "line" / "overlay.png") as other:
        assert one.size == other.size


@pytest.mark.parametrize("xray", ["xray.dcm", None])
def test_a_patient_from_a_file_is_named_whether_read_or_given(files: Path, tmp_path: Path, xray: str | None):
    session = Session(CtFile(files / "ct.nii.gz"), drr())
    if xray:
        session.read_xray(files / xray)
    run(session)
    session.save(tmp_path)
    assert json.loads((tmp_path / "registration.json").read_text())["inputs"]["ct"]["path"] == str(files / "ct.nii.gz")


def test_a_simulated_xray_is_said_to_be_one(session: Session, tmp_path: Path):
    settings = xr.Acquisition(kilovolts=120, photons=5000, exposure_control=0.0)
    session.simulate(TRUTH, settings=settings, seed=7)
    run(session)
    session.save(tmp_path)
    record = json.loads((tmp_path / "registration.json").read_text())
    simulated = record["options"]["simulated"]
    assert simulated == {"truth": TRUTH.to_dict(), "seed": 7, "acquisition": asdict(settings)}
    assert record["inputs"] == {"ct": {"path": None}}


def test_the_spacing_written_is_the_volume_s(session: Session, tmp_path: Path):
    session.simulate(TRUTH)
    run(session)
    session.save(tmp_path)
    assert json.loads((tmp_path / "registration.json").read_text())["options"]["spacing"] == 8.0


def test_how_the_ct_was_read_is_written(files: Path, tmp_path: Path):
    session = Session(volume(), drr())
    session.read_ct(files / "ct.nii.gz", background=0.0)
    run(session)
    session.save(tmp_path)
    assert json.loads((tmp_path / "registration.json").read_text())["options"].get("background") == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("beam", xr.Beam(kilovolts=60)), ("volume", None), ("carm", CARM.resized((8, 8)))],
)
def test_a_result_does_not_outlive_what_it_was_found_with(session: Session, name: str, value: Any):
    session.simulate(TRUTH)
    run(session)
    session.pose = Pose.zero()
    assert session.result is not None  # to look elsewhere changes nothing
    setattr(session, name, volume(5) if name == "volume" else value)
    assert session.result is None
    assert session.history == ()


def test_a_result_is_of_the_beam_that_is_chosen_when_it_comes(session: Session):
    session.simulate(TRUTH)
    session.pace = 0.01

    async def main() -> None:
        task = asyncio.create_task(session.run())
        while not session.history:
            await asyncio.sleep(0.001)
        try:
            session.beam = xr.Beam(kilovolts=60)
        except XrcoreError:
            assert session.beam == xr.Beam()  # to refuse is as good
        await task

    asyncio.run(main())
    assert session.result is None or session.beam == xr.Beam()


def test_nothing_to_save_and_nowhere_to_save(session: Session, tmp_path: Path):
    with pytest.raises(XrcoreError, match="no result"):
        session.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    session.simulate(TRUTH)
    run(session)
    for nowhere in ("", "  "):
        with pytest.raises(XrcoreError, match="name a folder"):
            session.save(nowhere)
    (tmp_path / "file").write_text("")
    with pytest.raises(XrcoreError, match="file"):
        session.save(tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# errors


def test_errors_are_known_where_the_truth_is(session: Session):
    assert session.errors(Pose.zero()) is None
    assert Session(volume(), drr()).errors(Pose.zero()) is None
    session.simulate(TRUTH)
    # moving the source by 5 mm along the patient's x moves every landmark by 5 mm, seen from the camera
    moved = Pose(TRUTH.numbers + torch.tensor([0, 0, 0, 5.0, 0, 0]))
    mtre, mpd = session.errors(moved)
    assert mtre == pytest.approx(5.0, abs=1e-3)
    points = volume().surface_points().double()
    pixels = []
    for pose in (moved, TRUTH):
        matrix = pose.camera_from_world(CARM, volume().isocenter)[0]
        pixels.append(CARM.project(points @ matrix[:3, :3].T + matrix[:3, 3]) * CARM.spacing[0])
    assert mpd == pytest.approx(float((pixels[0] - pixels[1]).norm(dim=-1).mean()), rel=1e-3)


def test_steps_name_what_their_level_compared(session: Session):
    session.simulate(TRUTH)
    session.similarity = "gradient-zncc"
    run(session)
    names = [step.level_name for step in session.result.history]
    assert list(dict.fromkeys(names)) == ["correlation-ratio, 32", "gradient-zncc, 32", "gradient-zncc, 64"]
    assert {step.level_name for step in session.history} >= set(names)
