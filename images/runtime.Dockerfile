# manta/runtime: what runs in engine pods on nodes with GPUs: vLLM's own image, and in it Ray and Manta's launcher.
# `make images ONLY=runtime` builds it; docs/images.md says what of it was tried: not the base, which is 10 GB and more.
# vLLM has variants of it for older drivers (--build-arg VLLM_IMAGE=vllm/vllm-openai:v0.32.0-cu129). Pinned by version.
# Which digest a registry has for it could not be looked up where this was written: for builds that can be repeated,
# give one (--build-arg VLLM_IMAGE=vllm/vllm-openai@sha256:…).
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0

# The names of the libraries alone: what else changes in pyproject.toml does not build the libraries' layer anew.
FROM ${PYTHON_IMAGE} AS names
WORKDIR /src
COPY tools/image_requirements.py tools/
COPY tools/installer tools/installer
COPY pyproject.toml ./
RUN mkdir /names && python3 tools/image_requirements.py extras runtime > /names/names.txt
COPY requirements/constraints.txt /names/
COPY tools/image_requirements.py /names/
COPY tools/installer /names/installer

# A wheel, not a folder: where libraries lie is for vLLM's own Python to say.
FROM ${PYTHON_IMAGE} AS code
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m pip install --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY runtime runtime
RUN python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

FROM ${VLLM_IMAGE}
USER 0
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
# The system's own Python is vLLM's here, on purpose.
ARG PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1
# vLLM and Ray look up who they are: the user needs a name, and a home for caches.
RUN (getent group 1000 || groupadd --gid 1000 manta) \
    && (getent passwd 1000 || useradd --no-log-init --uid 1000 --gid 1000 --home-dir /home/manta manta) \
    && install --directory --owner=1000 --group=1000 /home/manta
# What the base has stays as it is, Ray too if it has one (vLLM was tested with it); our pins hold for everything else.
RUN --mount=type=bind,from=names,source=/names,target=/names \
    python3 -m pip list --format=freeze > /tmp/base.txt \
    && PYTHONDONTWRITEBYTECODE=1 python3 /names/image_requirements.py first /tmp/base.txt /names/constraints.txt \
      > /tmp/constraints.txt \
    && python3 -m pip install --no-cache-dir --requirement /names/names.txt ray --constraint /tmp/constraints.txt \
    && rm /tmp/base.txt /tmp/constraints.txt
ENV HOME=/home/manta PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 RAY_USAGE_STATS_ENABLED=0
RUN --mount=type=bind,from=code,source=/dist,target=/dist \
    python3 -m pip install --no-cache-dir --no-deps --no-index /dist/*.whl \
    && manta-runtime engine --help > /dev/null
WORKDIR /home/manta
USER 1000:1000
ENTRYPOINT ["manta-runtime"]
CMD ["--help"]
ARG VERSION=0.1.0 REVISION=unknown
LABEL org.opencontainers.image.title="manta/runtime" \
      org.opencontainers.image.description="vLLM, Ray and Manta's launcher" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
