"""The mathematics: arrays, small frames and frozen dataclasses in and out. No Spark, no tables, no logs, no globals."""
