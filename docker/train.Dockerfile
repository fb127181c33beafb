# Training and calibration. Build it in the repository's root:
#   docker build -f docker/train.Dockerfile -t tops-train .
#   docker run --rm --gpus all -v "$PWD/runs:/srv/tops/runs" \
#     tops-train tops train all models/recipes/demo.toml --run runs/demo
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 10001 tops
WORKDIR /srv/tops
COPY pyproject.toml README.md LICENSE constraints.txt tops.py child_python.py ./
COPY server server
COPY router router
COPY models models
COPY loadtest loadtest
RUN pip install --no-cache-dir -c constraints.txt -e '.[train,math,plot]' \
    && install --directory --owner=tops runs

USER 10001
HEALTHCHECK NONE
CMD ["tops"]
