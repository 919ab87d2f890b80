// How values are shown: in console lines, in messages, and as the JSON of a result.
(host, shared) => {
  const { isArray } = Array;
  const { join } = Array.prototype;
  const { getOwnPropertyDescriptor, getPrototypeOf, keys } = Object;
  const { stringify } = JSON;
  const toText = String;
  const objectText = Object.prototype.toString;
  const functionText = Function.prototype.toString;
  const apply = Reflect.apply;
  const dateText = Date.prototype.toISOString;
  const errorText = Error.prototype.toString;
  const mapEntries = Map.prototype.entries;
  const setValues = Set.prototype.values;
  const typed = getPrototypeOf(Uint8Array.prototype);
  const typedTag = getOwnPropertyDescriptor(typed, Symbol.toStringTag).get;
  const isBytes = (value) => ArrayBuffer.isView(value) || value instanceof ArrayBuffer;

  const bytesOf = (value) =>
    value instanceof ArrayBuffer
      ? new Uint8Array(value)
      : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);

  const guarded = (read) => {
    try {
      return read();
    } catch (error) {
      return `[${guardedText(error)}]`;
    }
  };
  const guardedText = (value) => {
    try {
      return toText(value);
    } catch {
      return "a value that cannot be shown";
    }
  };

  // A text for people, at most `most` characters of it.
  const show = (value, most) => {
    let left = most;
    const seen = [];
    const cut = (text) => {
      if (text.length > left) text = `${text.slice(0, left > 0 ? left : 0)}…`;
      left -= text.length;
      return text;
    };
    const list = (open, close, items, count, more) => {
      const shown = [];
      let number = 0;
      for (const item of items) {
        if (left <= 0 || number === 100) break;
        shown.push(item());
        number += 1;
      }
      if (more(number)) shown.push(`… ${count - number} more`);
      return shown.length === 0 ? open + close : `${open} ${shown.join(", ")} ${close}`;
    };
    const of = (value, depth) => {
      if (typeof value === "string") return cut(depth === 0 ? value : stringify(value));
      if (typeof value === "bigint") return cut(`${value}n`);
      if (typeof value === "symbol") return cut(toText(value));
      if (Object.is(value, -0)) return cut("-0");
      if (typeof value === "function") {
        const source = guarded(() => apply(functionText, value, []));
        const kind = source.startsWith("class") ? "class" : "function";
        return cut(`[${kind} ${guarded(() => toText(value.name)) || "(anonymous)"}]`);
      }
      if (value === null || typeof value !== "object") return cut(toText(value));
      if (seen.includes(value)) return cut("[Circular]");
      if (depth > 5) return cut(isArray(value) ? "[Array]" : "[Object]");
      seen.push(value);
      const text = guarded(() => ofObject(value, depth));
      seen.pop();
      return text;
    };
    const ofObject = (value, depth) => {
      const below = (inner) => () => of(inner, depth + 1);
      if (value instanceof Error) {
        const text = cut(apply(errorText, value, []));
        return value.cause === undefined ? text : `${text} [cause: ${of(value.cause, depth + 1)}]`;
      }
      if (value instanceof Date) return cut(isNaN(value) ? "Invalid Date" : apply(dateText, value, []));
      if (value instanceof RegExp) return cut(toText(value));
      if (value instanceof Promise) return cut("[Promise]");
      if (value instanceof Map) {
        const entries = [...apply(mapEntries, value, [])];
        const items = entries.map(([key, item]) => () => `${of(key, depth + 1)} => ${of(item, depth + 1)}`);
        return `Map(${entries.length}) ${list("{", "}", items, entries.length, (n) => n < entries.length)}`;
      }
      if (value instanceof Set) {
        const entries = [...apply(setValues, value, [])];
        return `Set(${entries.length}) ${list("{", "}", entries.map(below), entries.length, (n) => n < entries.length)}`;
      }
      if (value instanceof ArrayBuffer) return cut(`ArrayBuffer(${value.byteLength})`);
      if (ArrayBuffer.isView(value)) {
        const name = apply(typedTag, value, []) ?? "DataView";
        const { length } = value;
        const items = length === undefined ? [] : [...value.subarray(0, 100)].map(below);
        return `${name}(${length ?? value.byteLength}) ${list("[", "]", items, length, (n) => n < (length ?? 0))}`;
      }
      if (isArray(value)) {
        const { length } = value;
        const items = Array.from({ length: Math.min(length, 100) }, (_, i) => () => of(value[i], depth + 1));
        return list("[", "]", items, length, (n) => n < length);
      }
      const names = keys(value);
      const items = names.slice(0, 100).map((name) => () => {
        const shown = /^[A-Za-z_$][\w$]*$/.test(name) ? name : stringify(name);
        const property = getOwnPropertyDescriptor(value, name);
        const held = property && property.get ? "[Getter]" : of(value[name], depth + 1);
        return `${cut(shown)}: ${held}`;
      });
      const prototype = getPrototypeOf(value);
      const tag = apply(objectText, value, []).slice(8, -1);
      let name = prototype === null ? "[Object: null prototype]" : prototype.constructor?.name;
      if (tag !== "Object" && name === "Object") name = tag;
      const prefix = name === "Object" || !name ? "" : `${name} `;
      return prefix + list("{", "}", items, names.length, (n) => n < names.length);
    };
    return of(value, 0);
  };

  // `%s`, `%d`, `%i`, `%f`, `%j`, `%o`, `%O`, `%c` and `%%` of console lines.
  const line = (args, most) => {
    if (args.length === 0) return "";
    let next = 0;
    let text = "";
    if (typeof args[0] === "string" && args.length > 1 && args[0].includes("%")) {
      next = 1;
      text = args[0].replace(/%[sdifjoOc%]/g, (mark) => {
        if (mark === "%%") return "%";
        if (next === args.length) return mark;
        const value = args[next];
        next += 1;
        if (mark === "%c") return "";
        if (mark === "%d" || mark === "%f") return typeof value === "bigint" ? `${value}n` : toText(Number(value));
        if (mark === "%i") return typeof value === "bigint" ? `${value}n` : toText(parseInt(value, 10));
        if (mark === "%j") return guarded(() => stringify(value) ?? "undefined");
        return typeof value === "string" && mark === "%s" ? value : show(value, most);
      });
      if (next < args.length) text += " ";
    }
    const rest = [];
    for (let at = next, left = most - text.length; at < args.length && left > 0; at += 1) {
      const shown = show(args[at], left);
      left -= shown.length;
      rest.push(shown);
    }
    text += rest.join(" ");
    return text.length > most ? `${text.slice(0, most)}…` : text;
  };

  // The JSON of a value, at most about `most` bytes of it, and what was cut.
  const plain = (value, most, root) => {
    let left = most;
    const cuts = [];
    const seen = [];
    // A program may have broken what lists can do; these do without.
    const add = (list, item) => {
      list[list.length] = item;
    };
    const has = (list, item) => {
      for (let at = 0; at < list.length; at += 1) if (list[at] === item) return true;
      return false;
    };
    const say = (path, text) => {
      if (cuts.length < 20) add(cuts, `${path}: ${text}`);
    };
    // A text in JSON takes its UTF-8, and more for what is escaped.
    const text = (value, path) => {
      let written = stringify(value);
      if (written.length * 3 <= left || host.utf8Length(written) <= left) {
        left -= written.length;
        return written;
      }
      let keep = value.slice(0, left > 8 ? left - 8 : 0);
      while (keep !== "" && host.utf8Length(stringify(keep)) > left) keep = keep.slice(0, keep.length * 0.7);
      if (/[\uD800-\uDBFF]$/.test(keep)) keep = keep.slice(0, -1);
      say(path, `${value.length} characters, the first ${keep.length} are shown`);
      written = stringify(keep);
      left -= written.length;
      return written;
    };
    const number = (value) => {
      if (Number.isFinite(value)) {
        return Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21
          ? stringify(toText(value))
          : Object.is(value, -0) ? "0" : toText(value);
      }
      return stringify(toText(value));
    };
    const spend = (written) => {
      left -= written.length;
      return written;
    };
    const items = (count, each, path) => {
      const parts = [];
      let at = 0;
      for (; at < count; at += 1) {
        if (left <= 0) break;
        add(parts, each(at));
        left -= 1;
      }
      if (at < count) say(path, `${count} entries, the first ${at} are shown`);
      return `[${apply(join, parts, [","])}]`;
    };
    const fields = (entries, path) => {
      const parts = [];
      let shown = 0;
      for (const [name, value] of entries) {
        if (left <= 0) break;
        shown += 1;
        if (value === undefined) continue;
        const key = stringify(name);
        left -= host.utf8Length(key) + 2;
        add(parts, `${key}:${write(value, `${path}.${name.slice(0, 60)}`)}`);
      }
      if (shown < entries.length) say(path, `${entries.length} fields, the first ${shown} are shown`);
      return `{${apply(join, parts, [","])}}`;
    };
    const write = (value, path) => {
      switch (typeof value) {
        case "string":
          return text(value, path);
        case "number":
          return spend(number(value));
        case "boolean":
          return spend(value ? "true" : "false");
        case "undefined":
          return spend("null");
        case "bigint":
          return Number.isSafeInteger(Number(value)) ? spend(toText(value)) : text(toText(value), path);
        case "symbol":
        case "function":
          return text(show(value, 200), path);
      }
      if (value === null) return spend("null");
      if (has(seen, value)) return text("[Circular]", path);
      if (seen.length >= 90) {
        say(path, "deeper than 90 levels");
        return text(isArray(value) ? "[Array]" : "[Object]", path);
      }
      add(seen, value);
      const written = object(value, path);
      seen.length -= 1;
      return written;
    };
    const object = (value, path) => {
      if (value instanceof Date) {
        return isNaN(value) ? spend("null") : text(apply(dateText, value, []), path);
      }
      if (typeof value.toJSON === "function") return write(value.toJSON(""), path);
      if (isBytes(value)) {
        let bytes = bytesOf(value);
        const room = Math.max(0, Math.floor(((left - 16) / 4) * 3));
        if (bytes.length > room) {
          say(path, `${bytes.length} bytes, the first ${room} are shown`);
          bytes = bytes.subarray(0, room);
        }
        return spend(`{"base64":"${host.base64(bytes)}"}`);
      }
      if (value instanceof Error) {
        const { name, message, ...rest } = value;
        return fields([["name", toText(value.name)], ["message", toText(value.message)], ...Object.entries(rest)], path);
      }
      if (value instanceof Map) {
        return fields([...apply(mapEntries, value, [])].map(([key, item]) => [typeof key === "string" ? key : show(key, 200), item]), path);
      }
      if (value instanceof Set) {
        const held = [...apply(setValues, value, [])];
        return items(held.length, (at) => write(held[at], `${path}[${at}]`), path);
      }
      if (value instanceof RegExp) return text(toText(value), path);
      if (value instanceof Promise) return text("[Promise]", path);
      if (value instanceof Number || value instanceof String || value instanceof Boolean) return write(value.valueOf(), path);
      if (isArray(value)) return items(value.length, (at) => write(value[at], `${path}[${at}]`), path);
      const names = keys(value);
      for (let at = 0; at < names.length; at += 1) names[at] = [names[at], value[names[at]]];
      return fields(names, path);
    };
    const json = write(value, root);
    return [json, ...cuts];
  };

  shared.show = show;
  shared.line = line;
  shared.plain = plain;
  shared.isBytes = isBytes;
  shared.bytesOf = bytesOf;
}
