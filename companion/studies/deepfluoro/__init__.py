"""DeepFluoro's cadaver fluoroscopies: registrations as the field reports them, and a small simulated file of its layout."""
