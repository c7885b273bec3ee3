"""Compiles the native executor if there is a C++ compiler. Without one the package is complete, and slower.

The executor is plain C++17 (GCC or Clang) with a C interface: it includes nothing of Python or PyTorch, so
one build serves every version of both. It is compiled once for each level of a processor's instructions.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NATIVE = Path("elman/fused/native")
FLAGS = (
    "-shared -fPIC -pthread -std=c++17 -O3 -fvisibility=hidden "
    "-ffp-contract=fast -fno-math-errno -fno-trapping-math "
    # Vectors are written out in the sources. The compiler's own read arrays of pointers two at a time that
    # were just written one by one, and wait for every store before them.
    "-fno-tree-vectorize -fno-tree-slp-vectorize"
)
X86 = {
    "v2": "-march=x86-64-v2",
    "v3": "-march=x86-64-v3",
    "v4": "-march=x86-64-v4 -mprefer-vector-width=512",
    "v4b": "-march=x86-64-v4 -mavx512bf16 -mprefer-vector-width=512",
}


class BuildExecutor(build_ext):
    """Runs the compiler once per level, all at a time. What fails is said in one line, and is no error."""

    def build_extensions(self) -> None:
        compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
        if compiler is None or shutil.which(compiler.split()[0]) is None:
            self._say(f"there is no C++ compiler{f' {compiler}' if compiler else ''}")
            return
        running = {}
        for level, flags in levels().items():
            target = self._folder() / f"executor.{level}.so"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # of older sources
            given = os.environ.get("CXXFLAGS", "").split()
            command = [*compiler.split(), *FLAGS.split(), *flags.split(), *given, *self.extensions[0].sources]
            running[level] = subprocess.Popen(
                [*command, "-o", str(target)], stderr=subprocess.PIPE, text=True
            )
        failed = {}
        for level, process in running.items():
            said = (process.communicate()[1] or "").strip()
            if process.returncode:
                failed[level] = next((line for line in said.splitlines() if "error" in line), said[:200])
        if failed:
            self._say(f"{compiler} failed for {', '.join(failed)} ({next(iter(failed.values()))})")

    def _say(self, why: str) -> None:
        there = sorted(path.name for path in self._folder().glob("executor.*.so"))
        what = f"only {', '.join(there)} will be there" if there else "cells run by their definition, slower"
        print(f"elman: {why}; {what}")

    def copy_extensions_to_source(self) -> None:
        for path in NATIVE.glob("executor.*.so"):
            if not (self._folder() / path.name).exists():
                path.unlink()
        for path in self._folder().glob("executor.*.so"):
            copied = NATIVE / f"{path.name}.new"
            shutil.copy2(path, copied)
            copied.replace(NATIVE / path.name)  # what runs on the old one goes on

    def get_outputs(self) -> list[str]:
        return [str(path) for path in self._folder().glob("executor.*.so")]

    def get_output_mapping(self) -> dict[str, str]:
        return {path: str(NATIVE / Path(path).name) for path in self.get_outputs()}

    def _folder(self) -> Path:
        return Path(self.build_lib) / NATIVE


class Wheel(bdist_wheel):
    """The executor is C alone, whatever the Python: one wheel for each platform."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


def levels() -> dict[str, str]:
    if platform.machine().lower() in ("x86_64", "amd64"):
        return X86
    return {"plain": ""}


setup(
    ext_modules=[
        Extension(
            "elman.fused.native.executor",
            sources=sorted(map(str, NATIVE.glob("*.cpp"))),
            depends=sorted(map(str, NATIVE.glob("*.h"))),
            optional=True,
        )
    ],
    cmdclass={"bdist_wheel": Wheel, "build_ext": BuildExecutor},
)
