# What runs in engine and router pods: docker build -f images/runtime.Dockerfile -t manta/runtime:0.1.0 .
# Where this was written there is no Docker and no GPU: this file has never been built. The same packages, with vLLM's
# CPU build instead of the base image, are what `make test` runs.
ARG VLLM=v0.32.0
FROM vllm/vllm-openai:${VLLM}
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements requirements
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY runtime runtime
# What the base image has stays as it is (vLLM was tested with it); our pins hold for everything else.
RUN python3 -m pip freeze | cat - requirements/constraints.txt | grep -E '^[A-Za-z0-9._-]+==' \
      | awk -F== '{key = tolower($1); gsub(/[-_.]+/, "-", key)} !seen[key]++' > constraints.txt \
    && python3 -m pip install --constraint constraints.txt ".[runtime]" "$(grep '^ray==' requirements/engine.txt)" \
    && rm -rf /src
# vLLM and Ray look up who they are: the user needs a name, and a home for caches.
RUN (getent group 1000 || groupadd --gid 1000 manta) \
    && (getent passwd 1000 || useradd --uid 1000 --gid 1000 --home-dir /home/manta manta) \
    && install --directory --owner=1000 --group=1000 /home/manta
ENV HOME=/home/manta PYTHONUNBUFFERED=1 \
    VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /home/manta
USER 1000:1000
ENTRYPOINT ["manta-runtime"]
