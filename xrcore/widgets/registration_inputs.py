"""Inputs of a registration as widgets choose them: a CT and an X-ray, read, uploaded or simulated, and where they come from."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from traitlets import Any as AnyTrait
from traitlets import Instance, observe, validate

from xrcore._util.errors import XrcoreError
from xrcore._util.hashes import fingerprint
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.ct.label_maps import read_label_map
from xrcore.ct.reading import ct_files
from xrcore.geometry import CArm, Pose
from xrcore.simulation import Acquisition, simulate
from xrcore.widgets.state import PoseState
from xrcore.widgets.volume_sources import SPACING, CtFile, VolumeSource
from xrcore.xray import Xray, read_xray
from xrcore.xray.carm_file import mask_file

_FINER = 0.75  # of the voxel size: a simulated X-ray comes from a finer patient than the one that is registered
_SUBJECTS = ("volume", "carm", "beam", "xray")  # what a registration is about
_SUFFIX = re.compile(r"[^.\w]")


class RegistrationInputs(PoseState):
    """A CT and an X-ray, chosen one by one; parameters and attributes as in `Session`."""

    xray = Instance(Xray, allow_none=True)
    labels: Any = AnyTrait(None)
    truth = Instance(Pose, allow_none=True)

    def __init__(
        self, volume: Volume | VolumeSource, xray: Xray | None, *, carm: CArm, beam: Beam | None = None, pose: Pose | None = None
    ) -> None:
        self._files: dict[str, Any] = {}
        self._simulated: dict[str, Any] = {}
        self._xray_options: dict[str, Any] = {}
        self._taken: Xray | None = None
        super().__init__(volume, carm, beam=beam, pose=pose)
        self.start = self.pose
        self.observe(lambda _: self._forget(), names=list(_SUBJECTS))  # what was found for others is not theirs
        if xray is not None:
            self._take(xray)

    def choose(self, patient: VolumeSource) -> None:
        """Take another patient; the X-ray is dropped, since it is of another patient.

        Parameters
        ----------
        patient : VolumeSource
            Where the CT comes from.

        Raises
        ------
        XrcoreError
            If the CT cannot be read, or a registration is running.
        """
        self._refuse_while_running()
        volume = self._volume_of(patient)
        self._read, self._files, self._simulated, self._xray_options = volume, {}, {}, {}
        with self.hold_trait_notifications():
            self.patient, self.volume, self.xray, self.truth, self.labels = patient, volume, None, None, None
        self.start = self.pose

    def read_ct(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Read the CT in a file or folder; an X-ray that was read from a file stays, since it may be this patient's.

        Parameters
        ----------
        path : path
            A NIfTI, NRRD or MetaImage file, or a folder of DICOM slices.
        **options
            Keyword arguments of `xrcore.read_ct`.

        Raises
        ------
        XrcoreError
            If it cannot be read, or a registration is running.
        """
        file = _named(path, "CT")
        xray = None if self._simulated else self.xray
        files = {name: value for name, value in self._files.items() if name != "ct"}
        read = self._xray_options
        self.choose(CtFile(file, options))
        if xray is not None:
            self._take(xray)
            self._files, self._xray_options = files, read

    def read_xray(self, path: str | os.PathLike[str], carm: str | os.PathLike[str] | None = None, **options: Any) -> None:
        """Read the X-ray in a file; the pose goes to where the file says, else stays.

        Parameters
        ----------
        path : path
            A DICOM, PNG or TIFF file.
        carm : path, optional
            A carm.yaml, which PNG and TIFF need.
        **options
            Keyword arguments of `xrcore.read_xray`.

        Raises
        ------
        XrcoreError
            If it cannot be read, or a registration is running.
        """
        self._refuse_while_running()
        file = _named(path, "X-ray")
        yaml = _named(carm, "C-arm") if carm and str(carm).strip() else None
        xray = read_xray(file, yaml, **options)
        self._files = {"xray": fingerprint(file)}
        if yaml:
            self._files["carm"] = fingerprint(yaml)
            if (mask := mask_file(yaml)) is not None:
                self._files["mask"] = fingerprint(mask)
        self._simulated, self._xray_options = {}, {name: value for name, value in options.items() if value is not None}
        self._take(xray)

    def read_labels(self, path: str | os.PathLike[str]) -> None:
        """Read the label map whose structures are outlined; it is in the patient's space.

        Parameters
        ----------
        path : path
            A NIfTI, NRRD or MetaImage file; empty for none.

        Raises
        ------
        XrcoreError
            If it cannot be read.
        """
        self.labels = read_label_map(_named(path, "label map")) if str(path).strip() else None

    def receive_xray(self, contents: Mapping[str, bytes], **options: Any) -> None:
        """Read the X-ray among uploaded files.

        Parameters
        ----------
        contents : mapping of str to bytes
            Content by name; one may be a carm.yaml.
        **options
            Keyword arguments of `xrcore.read_xray`.

        Raises
        ------
        XrcoreError
            If there is not one X-ray, it cannot be read, or a registration is running.
        """
        yaml = [name for name in contents if Path(name).suffix.lower() in (".yaml", ".yml")]
        images = [name for name in contents if name not in yaml]
        if len(images) != 1 or len(yaml) > 1:
            raise XrcoreError(f"expected one X-ray and at most one carm.yaml, got {', '.join(contents) or 'nothing'}")
        with tempfile.TemporaryDirectory() as folder:
            # under names of our own: those that come with an upload may be anything
            paths = {name: Path(folder) / f"{number}{_SUFFIX.sub('', Path(name).suffix)}" for number, name in enumerate(contents)}
            for name, path in paths.items():
                path.write_bytes(contents[name])
            try:
                self.read_xray(paths[images[0]], paths[yaml[0]] if yaml else None, **options)
            except XrcoreError as error:
                text = str(error)
                for name, path in paths.items():
                    text = text.replace(str(path), name)
                raise XrcoreError(text) from None
        for key, name in (("xray", images[0]), *(("carm", name) for name in yaml)):
            self._files[key]["path"] = name

    def simulate(self, truth: Pose | None = None, *, settings: Acquisition | None = None, seed: int = 0) -> None:
        """Simulate an X-ray of the patient, from voxels finer than those registered where there are any; the pose shown becomes zero.

        Parameters
        ----------
        truth : Pose, optional
            From where, one pose; default one drawn from the paper's ranges by `seed`.
        settings : Acquisition, optional
            Tube voltage, noise and the like.
        seed : int
            Of the pose and the noise.
        """
        self._refuse_while_running()
        truth = Pose.random(generator=torch.Generator().manual_seed(seed)) if truth is None else truth
        settings = Acquisition() if settings is None else settings
        finer = self.patient.volume(_FINER * SPACING)
        xray = simulate(finer, self.carm, truth, settings=settings, seed=seed)
        self._simulated = {"truth": truth.to_dict(), "seed": seed, "acquisition": asdict(settings)}
        self._files, self._xray_options = {}, {}
        self._take(xray, truth)
        self.pose = self.start = Pose.zero()

    def describe(self) -> str:
        """Describe what is to be registered.

        Returns
        -------
        str
            CT, X-ray and notes, in a line.
        """
        z, y, x = self.volume.shape
        parts = [f"CT {x} × {y} × {z}, {' + '.join(self.volume.materials)}"]
        if self.xray is not None:
            rows, cols = self.xray.carm.shape
            distance = self.xray.carm.source_to_detector
            parts.append(f"X-ray {rows} × {cols}, source to detector {distance:g} mm")
        return " · ".join((*parts, *self.notes))

    def _provenance(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The files that were read, and the options that they were read with."""
        file = getattr(self.patient, "file", None)
        inputs = {"ct": {"path": None} if file is None else fingerprint(file, ct_files(file)), **self._files}
        read = {
            name: str(value) if isinstance(value, os.PathLike) else value for name, value in getattr(self.patient, "options", {}).items()
        }
        if isinstance(read.get("labels"), str):
            inputs["labels"] = fingerprint(read["labels"], ct_files(read["labels"]))
        options = {"spacing": round(self.volume.spacing[0], 4), **read, **self._xray_options, "kilovolts": self.beam.kilovolts}
        if self._simulated:
            options["simulated"] = self._simulated
        return inputs, options

    def _take(self, xray: Xray | None, truth: Pose | None = None) -> None:
        """Take an X-ray with its geometry and, where it has one, its pose; or none."""
        self._forget()
        self._taken = xray
        self.notes = self.volume.notes if xray is None else (*self.volume.notes, *xray.notes)
        with self.hold_trait_notifications():
            self.truth, self.xray = truth, xray
            if xray is not None:
                self.carm = xray.carm
                if xray.pose is not None:
                    self.pose = xray.pose
        self.start = self.pose

    @observe("xray")
    def _assigned(self, change: Any) -> None:
        """Take an X-ray that was assigned as one that was read is taken."""
        if change["new"] is not self._taken:
            self._files, self._simulated, self._xray_options = {}, {}, {}
            self._take(change["new"])

    def _forget(self) -> None:
        """Drop what was found for other inputs."""

    @validate(*_SUBJECTS)
    def _unchanged(self, proposal: Any) -> Any:
        if proposal["value"] is not getattr(self, proposal["trait"].name, None):
            self._refuse_while_running()
        return proposal["value"]

    def _refuse_while_running(self) -> None:
        if self.running:
            raise XrcoreError("a registration is running; stop it first")


def _named(path: str | os.PathLike[str] | None, what: str) -> Path:
    """The path that was typed; an empty one is refused, as it would mean the current folder."""
    text = str(path or "").strip().strip("\"'")
    if not text:
        raise XrcoreError(f"name the file of the {what}")
    return Path(text).expanduser().absolute()  # so that an error says where it looked
