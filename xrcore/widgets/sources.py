"""Where the cockpit's CT and X-ray come from: simulated, or files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as ipw

from xrcore.simulation import Acquisition
from xrcore.widgets.choices import patients
from xrcore.widgets.panel import Panel
from xrcore.widgets.patient_choice import PatientChoice
from xrcore.widgets.session import Session
from xrcore.widgets.watching import Watching

_LABEL = {"description_width": "72px"}
_FIELD = ipw.Layout


class Sources(Watching, ipw.Accordion):
    """Two drawers: simulate an X-ray of a patient, or read files. panel: where errors show."""

    def __init__(self, session: Session, panel: Panel) -> None:
        self.patient = PatientChoice(session, panel, patients(), style=_LABEL)
        self.kilovolts = ipw.Dropdown(options=[60, 90, 120], value=120, description="tube [kV]", style=_LABEL, layout=_FIELD(width="160px"))
        self.photons = ipw.FloatLogSlider(
            value=20_000, min=2, max=5.5, description="photons", readout_format=".0f", continuous_update=False, style=_LABEL
        )
        self.seed = ipw.BoundedIntText(value=0, min=0, max=1_000_000, description="seed", style=_LABEL, layout=_FIELD(width="170px"))
        self.make = ipw.Button(description="Simulate an X-ray").add_class("xr-simulate")
        self.ct = _path("CT", "a NIfTI, NRRD or MetaImage file, or a folder of DICOM slices").add_class("xr-ct-path")
        self.xray = _path("X-ray", "DICOM, PNG or TIFF").add_class("xr-xray-path")
        self.carm = _path("C-arm", "carm.yaml, which PNG and TIFF need").add_class("xr-carm-path")
        self.load_ct = ipw.Button(description="Read the CT").add_class("xr-read-ct")
        self.load_xray = ipw.Button(description="Read the X-ray").add_class("xr-read-xray")
        self.upload = ipw.FileUpload(
            multiple=True,
            accept=".dcm,.ima,.png,.tif,.tiff,.yaml,.yml",
            description="or upload it, with its carm.yaml",
            layout=_FIELD(width="260px"),
        ).add_class("xr-upload")
        simulated = ipw.HBox([self.patient, self.kilovolts, self.photons, self.seed, self.make], layout=_FIELD(flex_flow="row wrap"))
        files = ipw.VBox(
            [
                ipw.HBox([self.ct, self.load_ct]),
                ipw.HBox([self.xray, self.carm, self.load_xray], layout=_FIELD(flex_flow="row wrap")),
                self.upload,
            ]
        )
        super().__init__([simulated, files], titles=("Simulate an X-ray", "Read files"), selected_index=0)

        self._attach(session, panel)

    def _attach(self, session: Session, panel: Panel) -> None:

        def doing(what: str, act: Callable[[], None]) -> Callable[[Any], None]:
            def handler(_: Any) -> None:
                with panel.reporting():
                    panel.say(f"{what} ...")
                    act()
                    panel.settle(session.describe())

            return handler

        def upload(change: Any) -> None:
            contents = {item["name"]: bytes(item["content"]) for item in change["new"]}
            if contents:
                doing("reading the X-ray", lambda: session.receive_xray(contents))(None)
                self.upload.value = ()

        self.make.on_click(doing("simulating", lambda: self._simulate(session)))
        self.load_ct.on_click(doing("reading the CT", lambda: session.read_ct(self.ct.value)))
        self.load_xray.on_click(doing("reading the X-ray", lambda: session.read_xray(self.xray.value, self.carm.value or None)))
        self.upload.observe(upload, names="value")
        self.watch(session, self._busy, "running")

    def close(self) -> None:
        self.patient.close()
        super().close()

    def _busy(self, change: Any) -> None:
        for control in (self.patient, self.make, self.load_ct, self.load_xray, self.upload):
            control.disabled = change["new"]

    def _simulate(self, session: Session) -> None:
        settings = Acquisition(kilovolts=self.kilovolts.value, photons=float(round(self.photons.value)))
        session.simulate(settings=settings, seed=self.seed.value)


def _path(name: str, placeholder: str) -> ipw.Text:
    return ipw.Text(description=name, placeholder=placeholder, style=_LABEL, layout=_FIELD(width="420px"))
