"""Mass and share of each operation, and the rate phi of a theory of skips."""
