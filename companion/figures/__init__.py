"""The paper's figures, drawn from the tables and images of the studies."""
