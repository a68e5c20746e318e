"""The two programs that the gates need and no wheel brings: helm and promtool.

Owns: pinned versions, where they are looked for and how they are made. `python -m deploy.gates.binaries helm|promtool`
prints the path. Looked for on the PATH, then in `$DUNWELL_CACHE_DIR/bin` (`var/cache/bin`), then built there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The last release line of Helm 3; modules are checked against Go's checksum database.
HELM = "helm.sh/helm/v3/cmd/helm@v3.21.4"
# Prometheus 3.16 under the number that Go's modules know it by; only where Debian's package cannot be had.
PROMTOOL = "github.com/prometheus/prometheus/cmd/promtool@v0.316.0"
# Leaves the clouds' service discovery out, which checks nothing here and is most of the build.
PROMTOOL_TAGS = "remove_all_sd"
# A cold build of promtool is 7 minutes of one core; it took 14 on two cores with eight others at work.
BUILD_SECONDS_MAX = 1200
DOWNLOAD_SECONDS_MAX = 300


class Missing(RuntimeError):
    """A program is not there and cannot be made; the message is one line that says what to install."""


def cache_folder() -> Path:
    """Return where built programs are kept."""
    return Path(os.environ.get("DUNWELL_CACHE_DIR") or ROOT / "var/cache").resolve() / "bin"


def helm(search: str | None = None) -> Path:
    """Return helm, built with Go when it is nowhere.

    Args:
        search: A search path in place of PATH, of which only programs and Go are taken.
    """
    found = _found("helm", search)
    if found:
        return found
    go = shutil.which("go", path=search)
    if go is None:
        raise Missing("helm is missing: install Helm 3.14 or newer, or Go 1.25 or newer to build it")
    return _built(go, HELM, "helm")


def _built(go: str, module: str, name: str, tags: str = "") -> Path:
    target = cache_folder()
    target.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(target), "GOFLAGS": "-p=2"}
    _run([go, "install", f"-tags={tags}", module], environment, BUILD_SECONDS_MAX, name)
    return target / name


def promtool(search: str | None = None) -> Path:
    """Return promtool, out of Debian's package, which apt verifies, or built with Go, when it is nowhere."""
    found = _found("promtool", search)
    if found:
        return found
    apt, dpkg, go = (shutil.which(name, path=search) for name in ("apt-get", "dpkg", "go"))
    if apt and dpkg:
        try:
            return _unpacked(apt, dpkg)
        except Missing:
            if go is None:
                raise
    if go is None:
        raise Missing("promtool is missing: install Prometheus 2.40 or newer (Debian: apt-get install prometheus)")
    return _built(go, PROMTOOL, "promtool", PROMTOOL_TAGS)


def _unpacked(apt: str, dpkg: str) -> Path:
    target = cache_folder()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _run([apt, "download", "prometheus"], dict(os.environ), DOWNLOAD_SECONDS_MAX, "promtool", folder)
        package = next(Path(folder).glob("prometheus_*.deb"))
        _run([dpkg, "-x", str(package), folder], dict(os.environ), DOWNLOAD_SECONDS_MAX, "promtool")
        # Moved under its name in one step, so that nobody runs half of it.
        fresh = target / f"promtool.{os.getpid()}"
        shutil.copy2(Path(folder) / "usr/bin/promtool", fresh)
        fresh.replace(target / "promtool")
    return target / "promtool"


def _found(name: str, search: str | None) -> Path | None:
    on_path = shutil.which(name, path=search)
    if on_path:
        return Path(on_path)
    cached = cache_folder() / name
    return cached if search is None and cached.exists() else None


def _run(command: list[str], environment: dict[str, str], seconds: float, what: str, folder: str | None = None) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{what} is missing: `{' '.join(command)}` did not end in {seconds:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Missing(f"{what} is missing: install it, or mend `{' '.join(command)}`: {last}")


if __name__ == "__main__":
    try:
        print({"helm": helm, "promtool": promtool}[sys.argv[1]]())  # noqa: T201
    except Missing as missing:
        sys.exit(str(missing))
