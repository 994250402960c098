"""Follow a body through a sequence of X-rays."""

from xrcore.registration.tracking.frame_reading import Frames, read_frames
from xrcore.registration.tracking.loop import EDGE_LEVELS, LEVELS, Tracker, track
from xrcore.registration.tracking.motion import Motion
from xrcore.registration.tracking.result import Track, TrackedFrame

__all__ = ["EDGE_LEVELS", "LEVELS", "Frames", "Motion", "Track", "TrackedFrame", "Tracker", "read_frames", "track"]
