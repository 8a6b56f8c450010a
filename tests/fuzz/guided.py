"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz.guided TARGET [FOLDER OF SEEDS] [libFuzzer options]`."""

import sys

import atheris  # type: ignore[import-untyped]  # installed by whoever wants it: see README.md

with atheris.instrument_imports():
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    chosen = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, chosen)
    atheris.Fuzz()
