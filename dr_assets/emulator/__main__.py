"""Print docs/emulated.md, the list of what is emulated and what differs: `python -m dr_assets.emulator`."""

import sys

from dr_assets.emulator import DIFFERS, EMULATED

HEAD = """# What is emulated

`make demo`, `make ui`, `dr up` and the tests run against an embedded AWS: a [moto](https://github.com/getmoto/moto) server,
extended where it lacks what a disaster-recovery stack needs. Product code uses it through boto3 alone and cannot distinguish
it from AWS. In particular, the following is emulated:
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    parts += [f"## {area}\n\n" + "\n".join(f"* {line}" for line in lines) + "\n" for area, lines in EMULATED.items()]
    parts.append("## Differences from AWS\n\n" + "\n".join(f"* {line}" for line in DIFFERS) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
