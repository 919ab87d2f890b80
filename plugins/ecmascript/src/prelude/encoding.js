// `TextEncoder`, `TextDecoder`, `atob`, `btoa`, `URL` and `URLSearchParams`, over the host's parsers.
(host, shared, globals) => {
  globals.TextEncoder = class TextEncoder {
    get encoding() {
      return "utf-8";
    }
    encode(text = "") {
      return new Uint8Array(host.utf8(String(text)));
    }
    encodeInto(text, target) {
      let read = 0;
      let written = 0;
      for (const character of String(text)) {
        const bytes = new Uint8Array(host.utf8(character));
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        written += bytes.length;
        read += character.length;
      }
      return { read, written };
    }
  };

  const LABELS = {
    "utf-8": ["utf-8", "utf8", "unicode-1-1-utf-8"],
    "utf-16le": ["utf-16le", "utf-16", "ucs-2", "unicode"],
    "iso-8859-1": ["iso-8859-1", "latin1", "ascii", "us-ascii", "l1"],
  };
  globals.TextDecoder = class TextDecoder {
    #encoding;
    #fatal;
    #ignoreBom;
    #rest = new Uint8Array(0);
    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
      const wanted = String(label).trim().toLowerCase();
      this.#encoding = Object.keys(LABELS).find((name) => LABELS[name].includes(wanted));
      if (this.#encoding === undefined) {
        throw new RangeError(`the encoding ${wanted} is not supported; there are ${Object.keys(LABELS).join(", ")}`);
      }
      this.#fatal = Boolean(fatal);
      this.#ignoreBom = Boolean(ignoreBOM);
    }
    get encoding() {
      return this.#encoding;
    }
    get fatal() {
      return this.#fatal;
    }
    get ignoreBOM() {
      return this.#ignoreBom;
    }
    decode(input = new Uint8Array(0), { stream = false } = {}) {
      let bytes = shared.bytesOf(input);
      if (this.#rest.length > 0) {
        const joined = new Uint8Array(this.#rest.length + bytes.length);
        joined.set(this.#rest);
        joined.set(bytes, this.#rest.length);
        bytes = joined;
      }
      const [text, used] = host.decode(this.#encoding, bytes, this.#fatal, stream);
      if (text === undefined) throw new TypeError(`the bytes are not ${this.#encoding}`);
      this.#rest = bytes.slice(used);
      return !this.#ignoreBom && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    }
  };

  class DOMException extends Error {
    #name;
    constructor(message = "", name = "Error") {
      super(message);
      this.#name = String(name);
    }
    get name() {
      return this.#name;
    }
  }
  globals.DOMException ??= DOMException;

  globals.btoa = (text) => {
    text = String(text);
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code > 255) throw new globals.DOMException("btoa takes characters up to U+00FF", "InvalidCharacterError");
      bytes[at] = code;
    }
    return host.base64(bytes);
  };
  globals.atob = (text) => {
    const decoded = host.unbase64(String(text).replace(/[\t\n\f\r ]/g, ""));
    if (decoded === undefined) throw new globals.DOMException("the text is not base64", "InvalidCharacterError");
    const bytes = new Uint8Array(decoded);
    let result = "";
    for (let at = 0; at < bytes.length; at += 4096) result += String.fromCharCode(...bytes.subarray(at, at + 4096));
    return result;
  };

  class URLSearchParams {
    #pairs = [];
    #changed;
    constructor(init = "") {
      if (typeof init === "object" && init !== null) {
        const pairs = typeof init[Symbol.iterator] === "function" ? [...init] : Object.entries(init);
        for (const pair of pairs) {
          const [name, value, ...more] = [...pair];
          if (value === undefined || more.length) throw new TypeError("each entry must be a name and a value");
          this.#pairs.push([String(name), String(value)]);
        }
      } else {
        this.#pairs = JSON.parse(host.parseForm(String(init).replace(/^\?/, "")));
      }
    }
    static link(text, changed) {
      const params = new URLSearchParams(text);
      params.#changed = changed;
      return params;
    }
    #touch() {
      if (this.#changed) this.#changed(this.toString());
    }
    reset(text) {
      this.#pairs = JSON.parse(host.parseForm(text.replace(/^\?/, "")));
    }
    get size() {
      return this.#pairs.length;
    }
    append(name, value) {
      this.#pairs.push([String(name), String(value)]);
      this.#touch();
    }
    delete(name, value) {
      this.#pairs = this.#pairs.filter(([other, held]) => other !== String(name) || (value !== undefined && held !== String(value)));
      this.#touch();
    }
    get(name) {
      return this.#pairs.find(([other]) => other === String(name))?.[1] ?? null;
    }
    getAll(name) {
      return this.#pairs.filter(([other]) => other === String(name)).map(([, value]) => value);
    }
    has(name, value) {
      return this.#pairs.some(([other, held]) => other === String(name) && (value === undefined || held === String(value)));
    }
    set(name, value) {
      const at = this.#pairs.findIndex(([other]) => other === String(name));
      if (at < 0) this.#pairs.push([String(name), String(value)]);
      else {
        this.#pairs[at] = [String(name), String(value)];
        this.#pairs = this.#pairs.filter(([other], index) => index <= at || other !== String(name));
      }
      this.#touch();
    }
    sort() {
      this.#pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
      this.#touch();
    }
    forEach(callback, self) {
      for (const [name, value] of this.#pairs) callback.call(self, value, name, this);
    }
    *entries() {
      yield* this.#pairs.map(([name, value]) => [name, value]);
    }
    *keys() {
      for (const [name] of this.#pairs) yield name;
    }
    *values() {
      for (const [, value] of this.#pairs) yield value;
    }
    [Symbol.iterator]() {
      return this.entries();
    }
    toString() {
      return host.writeForm(JSON.stringify(this.#pairs));
    }
    get [Symbol.toStringTag]() {
      return "URLSearchParams";
    }
  }
  const { link } = URLSearchParams;
  delete URLSearchParams.link;
  const { reset } = URLSearchParams.prototype;
  delete URLSearchParams.prototype.reset;
  globals.URLSearchParams = URLSearchParams;

  const PARTS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
  class URL {
    #parts;
    #params;
    constructor(url, base) {
      const parts = host.parseUrl(String(url), base === undefined ? undefined : String(base));
      if (parts === undefined) throw new TypeError(`Invalid URL: ${String(url).slice(0, 200)}`);
      this.#parts = JSON.parse(parts);
      this.#params = link(this.#parts.search, (text) => this.#set("search", text));
    }
    static canParse(url, base) {
      return host.parseUrl(String(url), base === undefined ? undefined : String(base)) !== undefined;
    }
    static parse(url, base) {
      return URL.canParse(url, base) ? new URL(url, base) : null;
    }
    static {
      for (const part of PARTS) {
        Object.defineProperty(URL.prototype, part, {
          get() {
            return this.#parts[part];
          },
          set(value) {
            this.#set(part, String(value));
            if (part === "href" || part === "search") reset.call(this.#params, this.#parts.search);
          },
          enumerable: true,
          configurable: true,
        });
      }
    }
    #set(part, value) {
      const parts = host.setUrl(this.#parts.href, part, value);
      if (parts === undefined) {
        if (part === "href") throw new TypeError(`Invalid URL: ${value.slice(0, 200)}`);
        return;
      }
      this.#parts = JSON.parse(parts);
    }
    get origin() {
      return this.#parts.origin;
    }
    get searchParams() {
      return this.#params;
    }
    toString() {
      return this.#parts.href;
    }
    toJSON() {
      return this.#parts.href;
    }
    get [Symbol.toStringTag]() {
      return "URL";
    }
  }
  globals.URL = URL;
}
