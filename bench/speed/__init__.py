"""The project's stopwatch: the suite against a plain loop and against memory. Nothing imports this room."""
