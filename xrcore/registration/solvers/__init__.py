"""Methods that move a pose to where the DRR looks most like the X-ray."""
