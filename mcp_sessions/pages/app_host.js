// Calls tools through the client that shows the page, an MCP App.

class AppHost {
  #waiting = new Map();
  #lastId = 0;

  constructor() {
    addEventListener("message", (event) => { if (event.source === parent) this.#receive(event.data ?? {}); });
  }

  async connect() {
    const { hostContext } = await this.request("ui/initialize", {
      appInfo: { name: "mcp-sessions", version: "1" }, appCapabilities: {}, protocolVersion: "2026-01-26",
    });
    this.#adopt(hostContext ?? {});
    this.#send({ method: "ui/notifications/initialized", params: {} });
    const height = Math.min(hostContext?.containerDimensions?.maxHeight ?? 640, 640);
    this.#send({ method: "ui/notifications/size-changed", params: { width: innerWidth, height } });
  }

  request(method, params) {
    const id = ++this.#lastId;
    this.#send({ id, method, params });
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  call(name, given) { return this.request("tools/call", { name, arguments: given }); }

  async delete(session) {
    // Others wrote its name, so the assistant isn't sent that.
    const text = `Delete the session with the id ${JSON.stringify(session.id)}.`;
    await this.request("ui/message", { role: "user", content: [{ type: "text", text }] });
    say(["The assistant was asked to delete the session. Confirm it there."]);
  }

  #send(message) { parent.postMessage({ jsonrpc: "2.0", ...message }, "*"); }

  #receive({ id, method, params, result, error }) {
    if (method === "ui/notifications/tool-input") this.input = params?.arguments ?? {};
    else if (method === "ui/notifications/tool-result") showResult(this.input ?? {}, params ?? {});
    else if (method === "ui/notifications/host-context-changed") this.#adopt(params ?? {});
    else if (method && id !== undefined) this.#send(method === "ui/resource-teardown" || method === "ping"
      ? { id, result: {} } : { id, error: { code: -32601, message: "Method not found" } });
    else if (this.#waiting.has(id)) {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) reject(new Error(error.message)); else resolve(result);
    }
  }

  #adopt({ theme, styles }) {
    const root = document.documentElement.style;
    if (theme) root.colorScheme = theme;
    for (const name of ["--font-sans", "--font-mono"]) root.setProperty(name, styles?.variables?.[name] ?? root.getPropertyValue(name));
  }
}

const server = new AppHost();
const isApp = true;
