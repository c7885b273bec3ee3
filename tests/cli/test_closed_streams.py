"""A command whose standard input, output or error was closed (``<&-``, ``>&-``) before it began."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
os.close({number})
sys.{name} = None  # what Python does itself where it finds one closed
from elman.cli.main import main
status = main(["--version"])
sys.stdin.read()
print("to nowhere", file=sys.{out})
with open(os.devnull) as file:
    os._exit(status if file.fileno() > 2 else 3)  # no other file takes the number of the closed one
"""


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_is_like_an_empty_one(name: str) -> None:
    number = ["stdin", "stdout", "stderr"].index(name)
    program = PROGRAM.format(number=number, name=name, out="stderr" if name == "stdin" else name)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"" if name == "stdout" else b"elman ")
