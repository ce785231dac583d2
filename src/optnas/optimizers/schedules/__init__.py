"""Learning-rate schedules: pure functions of the epoch, one file each, without state."""
