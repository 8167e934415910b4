# manta/operator: the operator and the command line. `make images ONLY=operator` builds it; docs/images.md says what of
# it was tried and how large it is.
# Pinned by version. Which digest a registry has for it could not be looked up where this was written: for builds that
# can be repeated, give one (--build-arg PYTHON_IMAGE=python@sha256:…).
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm

# The names of the libraries alone: what else changes in pyproject.toml does not build the libraries' layer anew.
FROM ${PYTHON_IMAGE} AS names
WORKDIR /src
COPY tools/image_requirements.py tools/
COPY tools/installer tools/installer
COPY pyproject.toml ./
RUN python3 tools/image_requirements.py extras operator > /names.txt

FROM ${PYTHON_IMAGE} AS libraries
# pip's own settings, for mirrors; nothing of them is in the image. No passwords: builders keep build arguments.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv --without-pip /opt/manta
COPY requirements/constraints.txt requirements/
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

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 1000 manta && useradd --no-log-init --uid 1000 --gid 1000 --create-home manta
# Written at no time: the compiled modules are in the image, and caches go to HOME.
ENV PATH=/opt/manta/bin:$PATH HOME=/home/manta PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /home/manta
USER 1000:1000
ENTRYPOINT ["manta"]
CMD ["operator"]
COPY --from=libraries /opt/manta /opt/manta
COPY --from=code /code /opt/manta
ARG VERSION=0.1.0 REVISION=unknown
LABEL org.opencontainers.image.title="manta/operator" \
      org.opencontainers.image.description="Manta's operator and command line" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
