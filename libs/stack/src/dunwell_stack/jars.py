"""Jars of Kafka and of the trace viewer: pinned, downloaded once, checked at every start.

Owns: the pin files and the download with jgo (a Maven resolver in Python), or Maven where jgo fails. Refuses: any
jar whose checksum differs from the pin.
"""

# ruff: noqa: S603 - a fixed command, never a shell's
from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from dunwell_stack.choice import StackUnavailable

KAFKA_VERSION = "4.1.0"
ZIPKIN_VERSION = "3.5.1"
# Newest of the plugin when the pins were made; named so that an old Maven does not pick another.
_MAVEN_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
Advance = Callable[[int], None]
Download = Callable[[Sequence["Pin"], Path, Advance], None]


@dataclass(frozen=True, slots=True)
class Pin:
    """One jar: its Maven coordinates, its sha256 in hexadecimal and its size in bytes; often without classifier."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int
    classifier: str = ""

    @property
    def file_name(self) -> str:
        """The jar's name as every Maven tool writes it."""
        return "-".join(part for part in (self.artifact, self.version, self.classifier) if part) + ".jar"


def pins_of(part: str, version: str) -> list[Pin]:
    """Return the pinned jars of a part of the stack."""
    return read_pins(Path(__file__).with_name(f"{part}-{version}.jars"))


def read_pins(path: Path) -> list[Pin]:
    """Return the jars pinned in a file; ValueError on a malformed line."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    pins = []
    for coordinates, sha256, size in rows:
        group, artifact, version, *classifier = coordinates.split(":", 3)
        pins.append(Pin(group, artifact, version, sha256, int(size), *classifier))
    return pins


def jars_in(
    cache: Path,
    part: str = "kafka",
    version: str = KAFKA_VERSION,
    *,
    downloads: Sequence[tuple[str, Download]] | None = None,
) -> tuple[list[Path], str]:
    """Return a part's checked jars, and in words where they came from.

    Several processes may call at once on one cache; one downloads, the others wait for it.

    Raises:
        StackUnavailable: They cannot be downloaded, or a checksum differs.
    """
    folder = cache / f"{part}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    pins = pins_of(part, version)
    way = "cached"
    with _locked(cache / f"{part}.lock"):
        missing = [pin for pin in pins if not matches(folder / pin.file_name, pin)]
        if missing:
            way = _download(missing, folder, downloads or (("jgo", with_jgo), ("Maven", with_maven)))
    return [folder / pin.file_name for pin in pins], way


def matches(jar: Path, pin: Pin) -> bool:
    """Tell whether a file is there and is the very one pinned."""
    if not jar.exists() or jar.stat().st_size != pin.size:
        return False
    with jar.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == pin.sha256


def _download(pins: Sequence[Pin], folder: Path, downloads: Sequence[tuple[str, Download]]) -> str:
    wrong: list[str] = []
    for name, download in downloads:
        with tempfile.TemporaryDirectory(prefix="download-", dir=folder.parent) as scratch:
            target = Path(scratch)
            try:
                with _progress(f"{folder.name} with {name}", sum(pin.size for pin in pins)) as advance:
                    download(pins, target, advance)
                for pin in pins:
                    if not matches(target / pin.file_name, pin):
                        raise StackUnavailable(f"the sha256 of {pin.file_name} is not the pinned one")
            except Exception as error:  # whatever the tool raises, the next tool may do better
                wrong.append(f"{name}: {' '.join(str(error).split())[:200] or type(error).__name__}")
                continue
            for pin in pins:
                (target / pin.file_name).replace(folder / pin.file_name)
            return f"downloaded with {name}"
    raise StackUnavailable(f"the jars of {folder.name} cannot be downloaded ({'; '.join(wrong)}); is there a network?")


def with_jgo(pins: Sequence[Pin], target: Path, advance: Advance) -> None:
    """Download with jgo's Python resolver, exactly the pinned files, eight at a time."""
    with warnings.catch_warnings():
        # A dependency of jgo warns where there is no desktop session.
        warnings.simplefilter("ignore")
        from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def progress(_name: str, _size: int) -> Iterator[Advance]:
        yield advance

    repository = target / "repository"
    context = MavenContext(PythonResolver(progress_callback=progress), repo_cache=repository, timeout=30)

    def fetch(pin: Pin) -> None:
        artifact = context.project(pin.group, pin.artifact).at_version(pin.version).artifact(pin.classifier)
        artifact.resolve().replace(target / pin.file_name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, pins))


def with_maven(pins: Sequence[Pin], target: Path, advance: Advance) -> None:
    """Download with the machine's Maven, through a throw-away project that names exactly the pinned files."""
    maven = shutil.which("mvn")
    if maven is None:
        raise StackUnavailable("mvn is not on the PATH")
    rows = "".join(
        f"<dependency><groupId>{pin.group}</groupId><artifactId>{pin.artifact}</artifactId>"
        f"<version>{pin.version}</version><classifier>{pin.classifier}</classifier></dependency>"
        for pin in pins
    )
    project = target / "pom.xml"
    project.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>dunwell</groupId><artifactId>jars</artifactId>"
        f"<version>1</version><dependencies>{rows}</dependencies></project>"
    )
    command = [maven, "-q", "-B", "-f", str(project), _MAVEN_GOAL]
    options = ["-DexcludeTransitive=true", f"-DoutputDirectory={target}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise StackUnavailable(f"mvn ended with {done.returncode}: {(done.stdout or done.stderr)[:150]}")
    advance(sum(pin.size for pin in pins))


@contextmanager
def _progress(what: str, total_bytes: int) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"Downloading {what}, once", total=total_bytes)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
