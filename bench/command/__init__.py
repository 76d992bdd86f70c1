"""What commands share: launchers, progress, what a run prints."""
