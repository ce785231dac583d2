"""One-shot accuracies of many cells against the benchmark."""
