"""What can be in the way of a run, apart from its recipe."""


class RunError(Exception):
    """A run that cannot be, why, and what to do instead; each kind has its exit code."""

    exit_code = 1


class NoSuchRun(RunError):
    """There is no run of this name."""

    exit_code = 4


class StillRunning(RunError):
    """Another process is writing into the folder of this run."""


class CannotResume(RunError):
    """There is nothing to go on from, or the recipe is another one by now."""

    exit_code = 3
