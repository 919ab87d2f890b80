// `fetch` and what belongs to it, where the operator grants the network.
(host, shared, globals) => {
  class Headers {
    #map = new Map();
    constructor(init = {}) {
      const pairs = init instanceof Headers || typeof init[Symbol.iterator] === "function" ? [...init] : Object.entries(init);
      for (const [name, value] of pairs) this.append(name, value);
    }
    static #name(name) {
      name = String(name).toLowerCase();
      if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) throw new TypeError(`${name.slice(0, 80)} is no name of a header`);
      return name;
    }
    append(name, value) {
      name = Headers.#name(name);
      const held = this.#map.get(name);
      value = String(value).trim();
      this.#map.set(name, held === undefined ? value : `${held}, ${value}`);
    }
    set(name, value) {
      this.#map.set(Headers.#name(name), String(value).trim());
    }
    get(name) {
      return this.#map.get(Headers.#name(name)) ?? null;
    }
    has(name) {
      return this.#map.has(Headers.#name(name));
    }
    delete(name) {
      this.#map.delete(Headers.#name(name));
    }
    forEach(callback, self) {
      for (const [name, value] of this) callback.call(self, value, name, this);
    }
    *entries() {
      yield* [...this.#map].sort(([one], [other]) => (one < other ? -1 : 1));
    }
    *keys() {
      for (const [name] of this.entries()) yield name;
    }
    *values() {
      for (const [, value] of this.entries()) yield value;
    }
    [Symbol.iterator]() {
      return this.entries();
    }
  }
  globals.Headers = Headers;

  class AbortSignal {
    #aborted = false;
    #reason;
    #listeners = new Set();
    onabort = null;
    get aborted() {
      return this.#aborted;
    }
    get reason() {
      return this.#reason;
    }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }
    addEventListener(type, listener) {
      if (type === "abort") this.#listeners.add(listener);
    }
    removeEventListener(_, listener) {
      this.#listeners.delete(listener);
    }
    #abort(reason = new globals.DOMException("the operation was aborted", "AbortError")) {
      if (this.#aborted) return;
      this.#aborted = true;
      this.#reason = reason;
      const event = { type: "abort", target: this };
      if (typeof this.onabort === "function") this.onabort(event);
      for (const listener of this.#listeners) listener.call(this, event);
    }
    static abort(reason) {
      const signal = new AbortSignal();
      signal.#abort(reason);
      return signal;
    }
    static timeout(delay) {
      const signal = new AbortSignal();
      globals.setTimeout(() => signal.#abort(new globals.DOMException("it took too long", "TimeoutError")), delay);
      return signal;
    }
    static any(signals) {
      const signal = new AbortSignal();
      for (const other of signals) {
        if (other.aborted) signal.#abort(other.reason);
        else other.addEventListener("abort", () => signal.#abort(other.reason));
      }
      return signal;
    }
    static {
      globals.AbortController = class AbortController {
        signal = new AbortSignal();
        abort(reason) {
          this.signal.#abort(reason);
        }
      };
    }
  }
  globals.AbortSignal = AbortSignal;

  // What requests and responses hold.
  const encode = (body) => {
    if (body === undefined || body === null) return [undefined, undefined];
    if (body instanceof globals.URLSearchParams) {
      return [host.utf8(String(body)), "application/x-www-form-urlencoded;charset=UTF-8"];
    }
    if (shared.isBytes(body)) {
      const bytes = shared.bytesOf(body);
      return [bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), undefined];
    }
    return [host.utf8(String(body)), "text/plain;charset=UTF-8"];
  };
  class Body {
    #read;
    bodyUsed = false;
    constructor(read) {
      this.#read = read;
    }
    async arrayBuffer() {
      if (this.bodyUsed) throw new TypeError("the body has been read already");
      this.bodyUsed = true;
      return await this.#read();
    }
    async bytes() {
      return new Uint8Array(await this.arrayBuffer());
    }
    async text() {
      return new globals.TextDecoder().decode(await this.arrayBuffer());
    }
    async json() {
      return JSON.parse(await this.text());
    }
  }
  class Request extends Body {
    constructor(input, init = {}) {
      const from = input instanceof Request ? input : undefined;
      const [body, type] = encode(init.body);
      super(async () => body ?? (from ? await from.arrayBuffer() : new ArrayBuffer(0)));
      this.url = from ? from.url : new globals.URL(input).href;
      this.method = String(init.method ?? from?.method ?? "GET").toUpperCase();
      this.headers = new Headers(init.headers ?? from?.headers);
      this.redirect = init.redirect ?? from?.redirect ?? "follow";
      this.signal = init.signal ?? from?.signal ?? new AbortSignal();
      this.hasBody = body !== undefined || Boolean(from?.hasBody);
      if (type !== undefined && !this.headers.has("content-type")) this.headers.set("content-type", type);
      if (this.hasBody && (this.method === "GET" || this.method === "HEAD")) {
        throw new TypeError(`a ${this.method} request has no body`);
      }
    }
  }
  class Response extends Body {
    constructor(body, init = {}) {
      const [bytes, type] = encode(body);
      super(init.read ?? (async () => bytes ?? new ArrayBuffer(0)));
      this.status = init.status ?? 200;
      this.statusText = init.statusText ?? "";
      this.ok = this.status >= 200 && this.status < 300;
      this.headers = new Headers(init.headers);
      this.url = init.url ?? "";
      this.redirected = init.redirected ?? false;
      if (type !== undefined && !this.headers.has("content-type")) this.headers.set("content-type", type);
    }
    static json(value, init = {}) {
      const response = new Response(JSON.stringify(value), init);
      response.headers.set("content-type", "application/json");
      return response;
    }
  }
  globals.Request = Request;
  globals.Response = Response;

  globals.fetch = async (input, init) => {
    const request = new Request(input, init);
    const { signal } = request;
    signal.throwIfAborted();
    const body = request.hasBody ? await request.arrayBuffer() : undefined;
    const redirects = request.redirect === "follow" ? undefined : 0;
    const sent = shared.promise(() => host.startFetch(request.method, request.url, JSON.stringify([...request.headers]), body, redirects));
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    aborted.catch(() => {});
    let answer;
    try {
      answer = JSON.parse(await Promise.race([sent, aborted]));
    } catch (error) {
      if (!(error instanceof globals.ToolError)) throw error;
      const failed = new TypeError(`fetch failed: ${error.message}`, { cause: error });
      failed.code = error.code;
      throw failed;
    }
    const { id, status, url, headers } = answer;
    if (request.redirect === "error" && status >= 300 && status < 400) throw new TypeError("fetch failed: there was a redirect");
    const read = () => Promise.race([shared.promise(() => host.readBody(id)), aborted]);
    return new Response(undefined, { read, status, headers, url, redirected: url !== request.url });
  };
}
