"""Forms that give a session its CT and X-ray: simulate an X-ray of a patient, or read files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as ipw

from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import XRAY_SUFFIXES
from xrcore.simulation import Acquisition
from xrcore.widgets.choices import PatientDropdown
from xrcore.widgets.observer import Observer
from xrcore.widgets.panel import Panel
from xrcore.widgets.session import Session
from xrcore.widgets.volume_sources import VolumeSource

_LABEL = {"description_width": "80px"}
_WIDE = {"width": "auto"}
_GRID = {"grid_template_columns": "repeat(auto-fit, minmax(min(100%, 240px), 1fr))"}  # as many columns as there is room for
_DETECTORS = [("anterior, the standard", ""), ("posterior", "posterior")]  # ipywidgets takes None for no choice
_SUFFIXES = ",".join((*XRAY_SUFFIXES, ".yaml", ".yml"))


class InputForms(Observer, ipw.Accordion):
    """Two forms, "Simulate an X-ray" and "Read files".

    Parameters
    ----------
    session : Session
        What they change.
    panel : Panel
        Where messages and errors show.
    patients : mapping of str to VolumeSource
        Patients to choose from, by name.
    """

    def __init__(self, session: Session, panel: Panel, patients: Mapping[str, VolumeSource]) -> None:
        self._session, self._panel = session, panel
        self.patient = PatientDropdown(session, panel, patients, style=_LABEL, layout=_WIDE)
        self.kilovolts = ipw.Dropdown(options=[60, 90, 120], value=120, description="tube [kV]", style=_LABEL, layout=_WIDE)
        self.photons = ipw.FloatLogSlider(
            value=20_000, min=2, max=5.5, description="photons", readout_format=".0f", continuous_update=False, style=_LABEL, layout=_WIDE
        )
        self.seed = ipw.BoundedIntText(value=0, min=0, max=1_000_000, description="seed", style=_LABEL, layout=_WIDE)
        self.simulate = ipw.Button(description="Simulate an X-ray").add_class("xr-simulate")
        self.ct = _path("CT", "file or DICOM folder", "NIfTI, NRRD or MetaImage file, or folder of DICOM slices").add_class("xr-ct-path")
        self.background = _path(
            "background", "HU, mostly empty", "Of a CT of bone alone: the HU that was put where tissue was removed"
        ).add_class("xr-background")
        self.xray = _path("X-ray", "DICOM, PNG, TIFF", "A DICOM, PNG or TIFF file").add_class("xr-xray-path")
        self.carm = _path("C-arm", "carm.yaml", "A carm.yaml, which PNG and TIFF need").add_class("xr-carm-path")
        self.detector = ipw.Dropdown(options=_DETECTORS, description="detector", style=_LABEL, layout=_WIDE).add_class("xr-detector")
        self.detector.tooltip = "Side that the angles of a DICOM file count from, where it does not say"
        self.labels = _path("labels", "label map", "A label map in the CT's space").add_class("xr-labels-path")
        self.read_labels = ipw.Button(description="Outline them").add_class("xr-read-labels")
        self.read_ct = ipw.Button(description="Read the CT").add_class("xr-read-ct")
        self.read_xray = ipw.Button(description="Read the X-ray").add_class("xr-read-xray")
        self.upload = ipw.FileUpload(multiple=True, accept=_SUFFIXES, description="or upload it, with its carm.yaml", layout=_WIDE)
        self.upload.add_class("xr-upload")
        simulated = ipw.GridBox([self.patient, self.kilovolts, self.photons, self.seed, self.simulate], layout=_GRID)
        fields = (
            *(self.ct, self.background, self.read_ct),
            *(self.xray, self.carm, self.read_xray),
            *(self.detector, self.upload, ipw.HTML()),
            *(self.labels, ipw.HTML("to outline its structures on the picture"), self.read_labels),
        )
        files = ipw.GridBox(fields, layout=_GRID)
        super().__init__([simulated, files], titles=("Simulate an X-ray", "Read files"), selected_index=0)
        self.simulate.on_click(self._task("simulating", self._simulate))
        self.read_ct.on_click(self._task("reading the CT", self._read_ct))
        self.read_xray.on_click(self._task("reading the X-ray", self._read_xray))
        self.read_labels.on_click(self._task("reading the labels", lambda: session.read_labels(self.labels.value)))
        self.upload.observe(self._uploaded, names="value")
        self.observe_until_closed(session, self._running, "running")

    def close(self) -> None:
        self.patient.close()
        super().close()

    def _task(self, name: str, act: Callable[[], None]) -> Callable[[Any], None]:
        """Return a callback that shows a message, runs the action, and then describes the session."""

        def run() -> None:
            self._panel.show_message(f"{name} ...")
            act()
            self._panel.show_message(self._session.describe(), keep_error=True)

        return self._panel.guarded(run)

    def _uploaded(self, change: Any) -> None:
        contents = {item["name"]: bytes(item["content"]) for item in change["new"]}
        if contents:
            self._task("reading the X-ray", lambda: self._session.receive_xray(contents, detector=self.detector.value or None))(None)
            self.upload.value = ()  # the same file may be chosen again

    def _running(self, change: Any) -> None:
        for control in (self.patient, self.simulate, self.read_ct, self.read_xray, self.read_labels, self.upload):
            control.disabled = change["new"]

    def _read_ct(self) -> None:
        text = self.background.value.strip()
        try:
            options = {"background": float(text)} if text else {}
        except ValueError:
            raise XrcoreError(f"background: expected a number of HU, such as 0, or nothing, got {text!r}") from None
        self._session.read_ct(self.ct.value, **options)

    def _read_xray(self) -> None:
        self._session.read_xray(self.xray.value, self.carm.value or None, detector=self.detector.value or None)

    def _simulate(self) -> None:
        # as many photons as the slider says, and not raised for a thick patient
        settings = Acquisition(kilovolts=self.kilovolts.value, photons=float(round(self.photons.value)), exposure_control=0.0)
        self._session.simulate(settings=settings, seed=self.seed.value)


def _path(name: str, placeholder: str, tooltip: str) -> ipw.Text:
    return ipw.Text(description=name, placeholder=placeholder, tooltip=tooltip, style=_LABEL, layout=_WIDE)
