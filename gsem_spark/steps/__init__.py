"""Steps: the only place where Spark and mathematics meet."""
