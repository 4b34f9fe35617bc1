"""Verbs as they are typed, run in this process."""

from typer.testing import CliRunner

from gsem_spark.cli.app import app, register_verbs

register_verbs()


def type_in(*arguments: object) -> tuple[int, str]:
    """Run a verb and return its exit status with all that it printed."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output
