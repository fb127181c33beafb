# The gateway with its embedded demo engine. Build it in the repository's root:
#   docker build -f docker/gateway.Dockerfile -t tops-gateway .
#   docker run --rm -p 127.0.0.1:8000:8000 -e TOPS_ALLOW_UNAUTHENTICATED=true tops-gateway
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 10001 tops \
    && install --directory --owner=tops /var/lib/tops
WORKDIR /srv/tops
COPY pyproject.toml README.md LICENSE constraints.txt tops.py child_python.py ./
COPY server server
COPY router router
COPY models models
COPY loadtest loadtest
RUN pip install --no-cache-dir -c constraints.txt -e '.[limits,postgres]'

USER 10001
ENV TOPS_HOST=0.0.0.0 TOPS_LEDGER=sqlite:////var/lib/tops/ledger.db
VOLUME /var/lib/tops
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
ENTRYPOINT ["tops", "serve"]
