"""Networks that see a pose in an X-ray: architectures, methods, training, trained models."""
