FROM python:3.13-slim
RUN useradd --create-home --uid 10001 sessions
COPY . /source
RUN pip install --no-cache-dir --compile '/source[postgres]' && rm -rf /source
USER sessions
ENV MCP_SESSIONS_TRANSPORT=http MCP_SESSIONS_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK CMD python -c "import urllib.request as u; u.urlopen('http://localhost:8000/healthz', timeout=3)"
ENTRYPOINT ["mcp-sessions"]
CMD ["serve"]
