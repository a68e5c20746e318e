# syntax=docker/dockerfile:1
# One file for every image of the product:
#   docker build --build-arg SERVICE=ingest -t dunwell/ingest:0.1.0 .
# SERVICE is ingest, retry, notify, ledger, analytics, sandbox, or cli (migrations, topics and every operator's command).
#
# The base is pinned by tag, so that a rebuild takes its security fixes. To pin it for good, resolve the digest with
# `docker buildx imagetools inspect python:3.11.14-slim-bookworm` and pass
# --build-arg PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ARG SERVICE
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY tools/uv.lock tools/uv.lock
RUN python -m pip install --quiet --require-hashes --no-deps -r tools/uv.lock
COPY . .
# What the image's packages import, and nothing that only tests, linters or a developer's machine need.
RUN test -n "${SERVICE}" || { echo "build with --build-arg SERVICE=ingest|retry|notify|ledger|analytics|sandbox|cli"; exit 1; }
RUN python tools/deploy_tools.py requirements "${SERVICE}" > /runtime.lock \
    && python tools/deploy_tools.py packages "${SERVICE}" > /packages.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    python -m venv --without-pip /opt/dunwell \
    && uv pip install --python /opt/dunwell/bin/python --require-hashes --no-deps --only-binary :all: --compile-bytecode -r /runtime.lock
# uv's own build backend: no build requirement is fetched.
RUN while read -r package; do uv build --quiet --wheel --offline --no-build-isolation --out-dir /wheels "${package}" || exit 1; done < /packages.txt \
    && uv pip install --python /opt/dunwell/bin/python --no-deps --no-index --compile-bytecode /wheels/*.whl

FROM ${PYTHON_IMAGE} AS runtime
ARG SERVICE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dunwell-${SERVICE}" \
      org.opencontainers.image.description="Dunwell recovers failed and overdue payments" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, since Kubernetes cannot tell from a name that it is not root; above 10000 no account of a host has it.
# /data is the sandbox's store: a named volume takes its owner from there.
RUN groupadd --gid 10001 dunwell \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin dunwell \
    && install -d -o 10001 -g 10001 /data \
    && rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/bin/pip*
COPY --from=builder /opt/dunwell /opt/dunwell
ENV PATH=/opt/dunwell/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DUNWELL_HTTP_HOST=0.0.0.0 \
    SERVICE=${SERVICE}
WORKDIR /tmp
USER 10001:10001
# The kit drains on SIGTERM and ends by itself within 35 s: give a container 45 s before it is killed.
STOPSIGNAL SIGTERM
# `exec` makes Python process 1, so that the signal reaches the kit. No HEALTHCHECK: one image serves roles with and
# without HTTP; docker-compose.yml and the chart know which.
CMD ["/bin/sh", "-c", "exec python -m dunwell_${SERVICE}"]
