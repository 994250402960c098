"""Dropdowns that show and change the patient or the beam of a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as ipw

from xrcore.beam import Beam
from xrcore.widgets.observer import Observer
from xrcore.widgets.panel import Panel
from xrcore.widgets.state import PoseState
from xrcore.widgets.volume_sources import CtFile, VolumeSource

BEAMS: dict[str, Beam] = {
    "90 kV": Beam(),
    "60 kV": Beam(kilovolts=60),
    "120 kV": Beam(kilovolts=120),
    "60 keV, one energy": Beam.monochromatic(60.0),
}


class PatientDropdown(Observer, ipw.Dropdown):
    """Choose a state's patient; follows changes made elsewhere. panel: shows an error where a CT cannot be read."""

    def __init__(self, state: PoseState, panel: Panel, patients: Mapping[str, VolumeSource], **kwargs: Any) -> None:
        self._state, self._panel, self._patients = state, panel, dict(patients)
        self._updating = False
        super().__init__(options=list(patients), description="patient", **kwargs)
        self.add_class("xr-patient")
        self.observe(self._chosen, names="value")
        self.observe_until_closed(state, self._update, "patient")
        self._update()

    def _chosen(self, change: Any) -> None:
        if self._updating:
            return
        with self._panel.errors_shown():
            self._panel.show_message(f"reading {change['new']} ...")
            self._state.choose(self._patients[change["new"]])
            self._panel.show_message(" · ".join(self._state.notes), keep_error=True)
        self._update()  # a CT that could not be read is not shown as chosen

    def _update(self, _: Any = None) -> None:
        patient = self._state.patient
        name = next((name for name, known in self._patients.items() if known is patient or known == patient), None)
        self._updating = True
        if name is None:
            name = patient.file.name if isinstance(patient, CtFile) else "the CT given"
            self._patients = {name: patient, **{key: value for key, value in self._patients.items() if key != name}}
            self.options = list(self._patients)
        self.value = name
        self._updating = False


class BeamDropdown(Observer, ipw.Dropdown):
    """Choose a state's beam; one that is not on the list and is set elsewhere joins it. panel: shows an error where it is refused."""

    def __init__(self, state: PoseState, panel: Panel, **kwargs: Any) -> None:
        self._state, self._panel = state, panel
        self._updating = False
        super().__init__(options=list(BEAMS.items()), description="beam", **kwargs)
        self.add_class("xr-beam")
        self.observe(self._chosen, names="value")
        self.observe_until_closed(state, self._update, "beam")
        self._update()

    def _chosen(self, change: Any) -> None:
        if self._updating:
            return
        with self._panel.errors_shown():
            self._state.beam = change["new"]
        self._update()  # a beam that was refused is not shown as chosen

    def _update(self, _: Any = None) -> None:
        beam = self._state.beam
        if beam == self.value:  # type: ignore[has-type]
            return
        self._updating = True
        known = list(BEAMS.items())
        self.options = known if beam in BEAMS.values() else [("the beam given", beam), *known]
        self.value = beam
        self._updating = False
