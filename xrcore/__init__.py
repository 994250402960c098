"""xrcore: find where an X-ray was taken from, given the patient's CT."""
