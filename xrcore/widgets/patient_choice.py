"""A list of patients that shows, and changes, the one of a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as ipw

from xrcore.widgets.choices import CtFile, CtSource
from xrcore.widgets.panel import Panel
from xrcore.widgets.state import ViewState
from xrcore.widgets.watching import Watching


class PatientChoice(Watching, ipw.Dropdown):
    """Chooses a state's patient, and follows it where others choose. panel: where it shows that a CT cannot be read."""

    def __init__(self, state: ViewState, panel: Panel, choices: Mapping[str, CtSource], **kwargs: Any) -> None:
        self._state, self._panel, self._choices = state, panel, dict(choices)
        self._following = False
        super().__init__(options=list(choices), description="patient", **kwargs)
        self.add_class("xr-patient")
        self.observe(self._chosen, names="value")
        self.watch(state, self._follow, "patient")
        self._follow()

    def _chosen(self, change: Any) -> None:
        if self._following:
            return
        with self._panel.reporting():
            self._panel.say(f"reading {change['new']} ...")
            self._state.choose(self._choices[change["new"]])
            self._panel.settle(" · ".join(self._state.notes))
        self._follow()  # a CT that could not be read is not shown as chosen

    def _follow(self, _: Any = None) -> None:
        patient = self._state.patient
        name = next((name for name, choice in self._choices.items() if choice is patient or choice == patient), None)
        self._following = True
        if name is None:
            name = patient.file.name if isinstance(patient, CtFile) else "the CT given"
            self._choices = {name: patient, **{key: value for key, value in self._choices.items() if key != name}}
            self.options = list(self._choices)
        self.value = name
        self._following = False
