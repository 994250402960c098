"""Where volumes come from, and the dropdowns of patients and beams."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.small_pelvis import CARM, PATIENTS, POSE, volume

import xrcore as xr
from xrcore import XrcoreError
from xrcore.widgets import PHANTOMS, CtFile, PoseExplorer, PoseState, Session
from xrcore.widgets.choices import BEAMS, BeamDropdown
from xrcore.widgets.panel import Panel
from xrcore.widgets.volume_sources import GivenVolume


def test_patients_are_read_when_chosen(tmp_path: Path):
    assert GivenVolume(volume()).volume(1.0) is volume()
    assert "phantom" in PHANTOMS
    with pytest.raises(XrcoreError):
        CtFile(tmp_path / "absent.nii.gz").volume(2.0)


@pytest.mark.parametrize("last", [xr.Beam.monochromatic(70.0), BEAMS["60 kV"]], ids=["another", "known"])
def test_a_beam_set_in_the_state_stays(state: PoseState, last: xr.Beam):
    beams = BeamDropdown(state, Panel(name="test"))
    for beam in (BEAMS["120 kV"], xr.Beam.monochromatic(80.0), BEAMS["90 kV"], xr.Beam.monochromatic(80.0), last):
        state.beam = beam
        assert state.beam == beam
        assert beams.value == beam
    beams.value = BEAMS["120 kV"]
    assert state.beam == BEAMS["120 kV"]
    beams.close()
    state.beam = last
    assert beams.value == BEAMS["120 kV"]


def test_a_beam_that_is_refused_is_said_and_not_shown_as_chosen():
    session = Session(volume(), carm=CARM)
    panel = Panel(name="test")
    beams = BeamDropdown(session, panel)
    session.running = True
    beams.value = BEAMS["60 kV"]
    assert "stop it first" in panel.note.value
    assert beams.value == session.beam == BEAMS["90 kV"]


def test_a_patient_chosen_beside_a_cockpit_is_the_session_s():
    session = Session(volume(), carm=CARM)
    session.simulate(POSE)
    explorer = PoseExplorer(state=session, patients=PATIENTS)
    explorer.patient.value = "two"
    explorer.close()
    assert session.patient.volume(2.0) is session.volume
    assert session.xray is None
