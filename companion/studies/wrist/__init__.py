"""The wrist of the real X-rays: its registrations, and a simulated stand-in."""
