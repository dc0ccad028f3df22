FROM python:3.13-slim-trixie AS build
COPY . /source
RUN python -m venv --without-pip /opt/mcp-sessions \
    && pip --python /opt/mcp-sessions/bin/python install --no-cache-dir --compile '/source[postgres]'

FROM python:3.13-slim-trixie
RUN useradd --no-create-home --uid 10001 sessions && install --directory --owner sessions --mode 700 /data
COPY --from=build /opt/mcp-sessions /opt/mcp-sessions
ENV PATH=/opt/mcp-sessions/bin:$PATH XDG_DATA_HOME=/data MCP_SESSIONS_TRANSPORT=http MCP_SESSIONS_HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
# By number, so that Kubernetes sees that it is not root.
USER 10001
HEALTHCHECK --start-period=10s --timeout=5s CMD ["python", "-c", "\
import http.client, os; \
server = http.client.HTTPConnection('localhost', int(os.environ.get('MCP_SESSIONS_PORT') or 8000), timeout=4); \
server.request('GET', '/healthz'); \
exit(server.getresponse().status != 200)"]
ENTRYPOINT ["mcp-sessions"]
CMD ["serve"]
