#!/usr/bin/env python3
"""What must not be in the repository: things nobody can read in a review, and unfinished work.

- binary files (but for small fuzzing seeds) and large ones;
- characters that are not seen or that reorder what is seen (CVE-2021-42574): write them as escapes;
- paths of one machine;
- marks of unfinished work;
- pages in `docs/` that name a file or the id of a test that is not there.
"""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path

LARGEST = 512 * 1024
LARGEST_SEED = 16 * 1024
SEEDS = "fuzz/seeds/"
MAY_BE_BINARY = (SEEDS,)

MACHINE = re.compile(r"(?<![\w./$}>-])/(?:work|tmp|root|home|farm|Users)/[\w.-]")
# Written so that they do not find themselves.
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|\b(?:to" r"do|unimple" r"mented)!\s*\(")
# Control, format, private and unassigned characters, and separators other than space and newline.
DOCUMENTED = ("docs/ASSURANCE.md", "docs/SECURITY.md", "docs/STANDARDS.md")
TEST_ID = re.compile(r"\b(?:JWT|SEC|DOS|API|STO|PKI|TLS|SET)-\d{3}\b")
CRATE_PATH = re.compile(r"`((?:crates/)?(?:m2m|caep)-[a-z-]+/(?:src|tests)/[\w./]+)`")
INVISIBLE = ("Cc", "Cf", "Co", "Cn", "Zl", "Zp")


def problems(name: str, data: bytes):
    seed = name.startswith(MAY_BE_BINARY)
    limit = LARGEST_SEED if seed else LARGEST
    if len(data) > limit:
        yield 0, f"{len(data)} bytes, more than {limit}"
    if seed:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield 0, f"not text: {error}"
        return
    for number, line in enumerate(text.split("\n"), 1):
        for character in line:
            if character == " " or character.isprintable():
                continue
            if character == "\t" or unicodedata.category(character) in INVISIBLE + ("Zs",):
                yield number, f"character U+{ord(character):04X}"
        if MACHINE.search(line):
            yield number, "a path of one machine"
        if UNFINISHED.search(line):
            yield number, "unfinished"


def gone(names):
    """What the documented pages name and nobody finds."""
    code = "\n".join(
        Path(name).read_text() for name in names if name.startswith("crates/") and name.endswith(".rs")
    )
    for page in DOCUMENTED:
        text = Path(page).read_text()
        for found in sorted(set(TEST_ID.findall(text))):
            if not re.search(r"\b(?:fn|mod|//)[^\n]*" + found.lower().replace("-", "_"), code):
                yield f"{page}: no test is named after {found}"
        for path in sorted(set(CRATE_PATH.findall(text))):
            if not Path("crates", path.removeprefix("crates/")).is_file():
                yield f"{page}: no file {path}"


def main() -> int:
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True).stdout
    names = [name for name in listed.decode().split("\0") if name]
    found = 0
    for name in names:
        path = Path(name)
        if path.is_symlink():
            print(f"{name}: a symbolic link")
            found += 1
            continue
        if not path.is_file():
            continue  # removed, and not yet committed
        for line, what in problems(name, path.read_bytes()):
            print(f"{name}:{line}: {what}")
            found += 1
    for problem in gone(name for name in names if Path(name).is_file()):
        print(problem)
        found += 1
    print(f"{len(names)} files, {found} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
