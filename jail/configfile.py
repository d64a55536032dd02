"""`Jail.from_toml`: the configuration file of the command, for the library.

The keys are the command's options, so its table and its reader are used: jail/cli/config.py,
jail/cli/tojail.py.
"""

from __future__ import annotations

import os

from jail.cli.config import read_config
from jail.cli.parse import UsageError
from jail.cli.tojail import make_jail
from jail.errors import SpecError
from jail.spec import Jail


def read_jail(path: str) -> Jail:
    """The jail that the file describes. Raises SpecError that names the file and the line or key."""
    try:
        settings = read_config(os.path.abspath(path))
        for setting in settings:
            if setting.option.name == "outcome":
                raise UsageError(f"{setting.where}: is for the command; here the outcome is what run returns")
        return make_jail(settings)
    except UsageError as error:
        raise SpecError(str(error).removeprefix("--config: ")) from None
