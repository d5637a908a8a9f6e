"""The campaign: mutants of valid inputs against every target, each in a process that is watched and may be killed.

    python tests/hostile/fuzz.py --minutes 10 --seed 0
    python tests/hostile/fuzz.py --target images --count 50000
    python tests/hostile/fuzz.py --target images --seed 0 --only 1234     (one mutant again, in this process)

A finding is a signal, a hang, an exception that is not the program's own, or memory far beyond the input. Findings are
printed with the command that repeats them; the exit code is 1 where there is one. Where Atheris is installed, it has
half of the time: it finds new paths through the decoders by what a mutant runs through.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

from mutate import mutated_bytes
from targets import GUIDED, REFUSED, TARGETS

HANG_S = 30  # on a machine that is busy; a mutant takes milliseconds
GROWTH_BYTES = 1_200 << 20  # what one small input may add to the process


@dataclass
class Tally:
    """What became of a target's mutants."""

    target: str
    cases: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)
    peak_bytes: int = 0
    seconds: float = 0.0


def attack_from(target: str, seed: int, first: int, count: int, note: Path) -> None:
    """Run mutants first … first + count - 1 in this process; every line of `note` tells how far it has come."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, note.open("a", buffering=1) as told:
        valid = Path(folder, "valid")
        valid.mkdir()
        attack = TARGETS[target](valid)
        before = resident_peak()
        for number in range(first, first + count):
            told.write(json.dumps({"at": number}) + "\n")
            own = Path(folder, "own")
            own.mkdir()
            found: dict[str, object] = {}
            try:
                attack(Random(f"{target}/{seed}/{number}"), own)
            except REFUSED:
                found["refused"] = True
            except Exception:
                found["finding"] = traceback.format_exc()
            remove(own)
            after = resident_peak()
            if after - before > GROWTH_BYTES:
                found["finding"] = f"memory: {(after - before) >> 20} MiB more"
            before = after
            told.write(json.dumps({"done": number, "peak": after, **found}) + "\n")


def campaign(target: str, seed: int, count: int, until_s: float) -> Tally:
    """Run a target's mutants in child processes until there are `count` or the time is over."""
    tally, began = Tally(target), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        first = 0
        while first < count and time.monotonic() < until_s:
            note = Path(folder, f"{first}.jsonl")
            command = [sys.executable, __file__, "--worker", str(note), "--target", target, "--seed", str(seed)]
            words = Path(folder, f"{first}.txt")
            with words.open("wb") as stderr:
                child = subprocess.Popen([*command, "--only", str(first), "--count", str(count - first)], stderr=stderr)
            ended = watch(child, note, until_s)
            if ended not in ("", "time"):
                ended += "\n" + words.read_text("utf-8", "replace")[-2000:]
            first = gather(note, tally, ended, seed)
            if ended == "time":
                break
    tally.seconds = time.monotonic() - began
    return tally


def watch(child: subprocess.Popen[bytes], note: Path, until_s: float) -> str:
    """ "" for a child that ended by itself, "time", "hang", or the name of the signal that ended it."""
    size, since = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(0.05)
        now = time.monotonic()
        grown = note.stat().st_size if note.exists() else 0
        if grown != size:
            size, since = grown, now
        if now > until_s or now - since > HANG_S + 60 * (size <= 0):  # to make the valid inputs takes a while
            child.kill()
            child.wait()
            return "time" if now > until_s else "hang"
    if child.returncode < 0:
        return signal.Signals(-child.returncode).name
    return "" if child.returncode == 0 else f"exit code {child.returncode}"


def gather(note: Path, tally: Tally, ended: str, seed: int) -> int:
    """Add a child's notes; the number of the next mutant."""
    lines = [json.loads(line) for line in note.read_text("utf-8").splitlines()] if note.exists() else []
    at = -1
    for line in lines:
        at = line.get("at", at)
        if "done" in line:
            tally.cases += 1
            tally.refused += "refused" in line
            tally.peak_bytes = max(tally.peak_bytes, line["peak"])
            if "finding" in line:
                tally.findings.append(finding(tally.target, seed, line["done"], line["finding"]))
    if ended not in ("", "time"):
        tally.cases += 1
        tally.findings.append(finding(tally.target, seed, at, ended))
        if at < 0:
            raise RuntimeError(f"the target {tally.target} ended before its first mutant: {ended}")
    return at + 1


def finding(target: str, seed: int, number: int, what: str) -> str:
    again = f"python tests/hostile/fuzz.py --target {target} --seed {seed} --only {number}"
    return f"{again}\n    " + what.strip().replace("\n", "\n    ")


def resident_peak() -> int:
    """The most that this process has held. Linux's getrusage counts the process that started it, too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def remove(folder: Path) -> None:
    """A folder with whatever strange names an attack has left in it."""
    shutil.rmtree(os.fsencode(folder))


def guided(target: str, seed: int, seconds: float, findings: Path) -> None:
    """Let Atheris look for new paths, from valid files on and by this campaign's mutator. Does not return."""
    import atheris

    valid_files, read = GUIDED[target]
    corpus, own = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    with atheris.instrument_imports(include=["pixelwise", "PIL"]):
        import pixelwise.datasets.masks.raw_mask
        import pixelwise.images.image_files  # noqa: F401
    valid = valid_files()
    for number, data in enumerate(valid):
        (corpus / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        with contextlib.suppress(*REFUSED):
            read(data, own)

    def mutate(data: bytes, most: int, number: int) -> bytes:
        return mutated_bytes(data, Random(number), valid)[:most]

    options = [f"-max_total_time={round(seconds)}", f"-seed={seed + 1}", f"-artifact_prefix={findings}/", "-timeout=30"]
    atheris.Setup([sys.argv[0], *options, "-rss_limit_mb=2000", str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


def by_atheris(seed: int, seconds: float) -> list[str]:
    """Run Atheris on each of its targets in a process of its own. Returns what it found."""
    found = []
    folder = Path("build/fuzz")
    folder.mkdir(parents=True, exist_ok=True)
    for target in GUIDED:
        command = [sys.executable, __file__, "--guided", str(seconds / len(GUIDED)), "--target", target]
        done = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(f"Atheris, {target} (the input lies in {folder}/)\n{done.stderr[-3000:]}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one; all in turn by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--count", type=int, default=10**9, help="mutants of each target, if the time allows")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this mutant, in this process")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--guided", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        attack_from(asked.target, asked.seed, asked.only, asked.count, asked.worker)
        return 0
    if asked.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            valid, own = Path(folder, "valid"), Path(folder, "own")
            valid.mkdir()
            own.mkdir()
            TARGETS[asked.target](valid)(Random(f"{asked.target}/{asked.seed}/{asked.only}"), own)
        return 0
    if asked.guided:
        guided(asked.target, asked.seed, asked.guided, Path("build/fuzz"))
    seconds = asked.minutes * 60
    has_atheris = importlib.util.find_spec("atheris") is not None and not asked.target
    if has_atheris:
        seconds /= 2
    names = [asked.target] if asked.target else list(TARGETS)
    tallies = []
    for number, name in enumerate(names):
        left_s = seconds - sum(one.seconds for one in tallies)
        tallies.append(campaign(name, asked.seed, asked.count, time.monotonic() + left_s / (len(names) - number)))
    print(f"{'target':<14}{'mutants':>9}{'refused':>9}{'findings':>9}{'peak MiB':>9}{'seconds':>9}")
    for one in tallies:
        facts = (one.cases, one.refused, len(one.findings), one.peak_bytes >> 20, round(one.seconds))
        print(f"{one.target:<14}" + "".join(f"{fact:>9,}" for fact in facts))
    for one in tallies:
        print(*one.findings, sep="\n")
    guided_findings = by_atheris(asked.seed, seconds) if has_atheris else []
    print(*guided_findings or ["Atheris: nothing" if has_atheris else "Atheris did not take part"], sep="\n")
    return int(bool(guided_findings) or any(one.findings for one in tallies))


if __name__ == "__main__":
    sys.exit(main())
