"""Find the pose of X-rays in a CT's space."""
