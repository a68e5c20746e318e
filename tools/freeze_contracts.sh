#!/usr/bin/env bash
# Make today's contracts the base that `buf breaking` compares with. Run at a release, never to silence a finding.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/buf build proto --exclude-source-info -o proto/base.binpb
