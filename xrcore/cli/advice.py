"""What to try after a registration that is not trusted, by what speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xrcore.registration.result import Registration


def next_steps(result: Registration, *, anywhere: bool = False) -> list[str]:
    """Lines for the terminal, what helps most first; none where the result is trusted or was not judged.

    anywhere: the search began nowhere in particular.
    """
    from xrcore.cli.text import line
    from xrcore.registration.verify import Doubt, doubts

    if result.trusted or result.evidence is None:
        return []
    found, steps = doubts(result.evidence), []
    if Doubt.PLACE in found:
        unsaid = not result.initial.numbers.any()
        if not anywhere:
            steps.append("--search anywhere: from all around, where nothing is known of the view")
        begun = "the view, where it is known" if anywhere else "the view, as the search began at AP" if unsaid else None
        steps.append(f"--initial lateral, pa, lpo, ...: {begun or 'another view, or numbers that are nearer'}")
        steps.append("--carm carm.yaml with the true pixel_spacing and source_to_detector, where tags may be wrong")
        steps.append("overlay.png: does it show the same patient, the same side, the same vertebrae?")
    if Doubt.DETAIL in found or Doubt.SPREAD in found:
        steps.append("the X-ray as the system stored it: uncropped, at its full resolution, not a screenshot")
    if len(result.views) == 1 and found.keys() & {Doubt.DETAIL, Doubt.SPREAD, Doubt.SYMMETRY}:
        steps.append("a second X-ray of the same instant, from another side: CT A B --rig angles")
    if Doubt.CALIBRATION in found:
        steps.append("--free source-to-detector,principal-point: estimate them with the pose; or --carm carm.yaml with the true ones")
    if not found:  # its mirror image fits better
        steps.append("--detector posterior, or an X-ray that is not flipped: left and right may be exchanged")
    return [line("try next" if number == 0 else "", step) for number, step in enumerate(steps)]
