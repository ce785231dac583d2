"""What every other room stands on: errors, files, run folders and records, names. No torch."""
