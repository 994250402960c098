"""Real CT localizers, which are slot scans: their registrations against where their files place them."""
