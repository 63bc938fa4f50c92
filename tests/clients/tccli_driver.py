"""Runs tccli again and again: arguments from standard input, a line each; status and output as a line each.

Every run is a process of its own, forked from this one, which has done before what takes
tccli a second whenever it starts.
"""

import json
import os
import sys
import tempfile

import tccli.main
from tccli.services.mps import mps_client

assert mps_client.action_caller, "imported once, for all runs"
command = tccli.main.CLICommand()
command._get_command_map()  # of all of the cloud's services
tccli.main.CLICommand = lambda: command


def run(arguments: list[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if not pid:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.argv = ["tccli", *arguments]
            try:
                status = tccli.main.main() or 0
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else int(error.code is not None)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode()


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
