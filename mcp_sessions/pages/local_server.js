// Calls tools over HTTP, on the page of `mcp-sessions browse`.

const VERSION = "2026-07-28";

class LocalServer {
  #lastId = 0;

  async connect() {
    const once = location.hash.slice(1);
    if (once) {
      history.replaceState(null, "", location.pathname);
      const { status, text } = await this.#post("/token", once, {});
      if (status === 200) sessionStorage.setItem("token", JSON.parse(text).token);
    }
    show("recent");
  }

  async call(name, given, more = {}) {
    const meta = {
      "io.modelcontextprotocol/protocolVersion": VERSION,
      "io.modelcontextprotocol/clientInfo": { name: "mcp-sessions browse", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": { elicitation: { form: {} } },
    };
    const params = { name, arguments: given, _meta: meta, ...more };
    const { status, text } = await this.#post("/mcp", sessionStorage.getItem("token"), {
      "Content-Type": "application/json", Accept: "application/json, text/event-stream",
      "MCP-Protocol-Version": VERSION, "Mcp-Method": "tools/call", "Mcp-Name": name,
    }, JSON.stringify({ jsonrpc: "2.0", id: ++this.#lastId, method: "tools/call", params }));
    if (status === 401) throw new Error("This page is open in another tab, or its link was used before. Run `mcp-sessions browse` again.");
    // The response is one line of JSON, or the last event of a stream.
    const response = text.match(/\{.*/g)?.at(-1);
    const { result, error } = response ? JSON.parse(response) : {};
    if (!result) throw new Error(error?.message ?? `The server refused the call (HTTP ${status}).`);
    return result;
  }

  async #post(path, token, headers, body) {
    try {
      const response = await fetch(path, { method: "POST", headers: { ...headers, Authorization: `Bearer ${token}` }, body });
      return { status: response.status, text: await response.text() };
    } catch {
      throw new Error("The server has ended, as it does after half an hour without use. Run `mcp-sessions browse` again.");
    }
  }

  // The server asks before it deletes; the user answers in this dialog.
  async delete(session) {
    const given = { session_id: session.id };
    let result = await this.call("delete_session", given);
    while (result.resultType === "input_required") {
      const [[key, { params }]] = Object.entries(result.inputRequests);
      // After the question itself, the message says what is lost, and until when it can be restored.
      const consequence = forPeople(params.message.split(")? ").pop());
      if (!await asked(["Delete ", title(session), "?"], "Delete", consequence)) return;
      result = await this.call("delete_session", given, {
        requestState: result.requestState, inputResponses: { [key]: { action: "accept", content: {} } },
      });
    }
    afterDeletion(session, contentOf(result).note);
  }
}

const server = new LocalServer();
const isApp = false;
