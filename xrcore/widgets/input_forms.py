"""Forms that give a session its CT and X-ray: simulate an X-ray of a patient, or read files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as ipw

from xrcore.simulation import Acquisition
from xrcore.widgets.choices import PatientDropdown
from xrcore.widgets.observer import Observer
from xrcore.widgets.panel import Panel
from xrcore.widgets.session import Session
from xrcore.widgets.volume_sources import VolumeSource

_LABEL = {"description_width": "72px"}
_FIELD = ipw.Layout
_SUFFIXES = ".dcm,.ima,.png,.tif,.tiff,.yaml,.yml"


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
        self.patient = PatientDropdown(session, panel, patients, style=_LABEL)
        self.kilovolts = ipw.Dropdown(options=[60, 90, 120], value=120, description="tube [kV]", style=_LABEL, layout=_FIELD(width="160px"))
        self.photons = ipw.FloatLogSlider(
            value=20_000, min=2, max=5.5, description="photons", readout_format=".0f", continuous_update=False, style=_LABEL
        )
        self.seed = ipw.BoundedIntText(value=0, min=0, max=1_000_000, description="seed", style=_LABEL, layout=_FIELD(width="170px"))
        self.simulate = ipw.Button(description="Simulate an X-ray").add_class("xr-simulate")
        self.ct = _path("CT", "a NIfTI, NRRD or MetaImage file, or a folder of DICOM slices").add_class("xr-ct-path")
        self.xray = _path("X-ray", "DICOM, PNG or TIFF").add_class("xr-xray-path")
        self.carm = _path("C-arm", "carm.yaml, which PNG and TIFF need").add_class("xr-carm-path")
        self.labels = _path("labels", "label map in the CT's space, to outline its structures").add_class("xr-labels-path")
        self.read_labels = ipw.Button(description="Outline them").add_class("xr-read-labels")
        self.read_ct = ipw.Button(description="Read the CT").add_class("xr-read-ct")
        self.read_xray = ipw.Button(description="Read the X-ray").add_class("xr-read-xray")
        self.upload = ipw.FileUpload(
            multiple=True, accept=_SUFFIXES, description="or upload it, with its carm.yaml", layout=_FIELD(width="260px")
        ).add_class("xr-upload")
        simulated = ipw.HBox([self.patient, self.kilovolts, self.photons, self.seed, self.simulate], layout=_FIELD(flex_flow="row wrap"))
        files = ipw.VBox(
            [
                ipw.HBox([self.ct, self.read_ct]),
                ipw.HBox([self.xray, self.carm, self.read_xray], layout=_FIELD(flex_flow="row wrap")),
                self.upload,
                ipw.HBox([self.labels, self.read_labels]),
            ]
        )
        super().__init__([simulated, files], titles=("Simulate an X-ray", "Read files"), selected_index=0)
        self.simulate.on_click(self._task("simulating", self._simulate))
        self.read_ct.on_click(self._task("reading the CT", lambda: session.read_ct(self.ct.value)))
        self.read_xray.on_click(self._task("reading the X-ray", lambda: session.read_xray(self.xray.value, self.carm.value or None)))
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
            self._task("reading the X-ray", lambda: self._session.receive_xray(contents))(None)
            self.upload.value = ()  # the same file may be chosen again

    def _running(self, change: Any) -> None:
        for control in (self.patient, self.simulate, self.read_ct, self.read_xray, self.read_labels, self.upload):
            control.disabled = change["new"]

    def _simulate(self) -> None:
        settings = Acquisition(kilovolts=self.kilovolts.value, photons=float(round(self.photons.value)))
        self._session.simulate(settings=settings, seed=self.seed.value)


def _path(name: str, placeholder: str) -> ipw.Text:
    return ipw.Text(description=name, placeholder=placeholder, style=_LABEL, layout=_FIELD(width="420px"))
