// `console`, `display` and what everything else reports through.
(host, shared, globals) => {
  const LINE = 20_000;
  const counts = new Map();
  const timers = new Map();
  let indent = "";
  shared.onCall(() => {
    counts.clear();
    timers.clear();
    indent = "";
  });

  const write = (level, args) => {
    if (!host.hasRoom()) return host.print(level, "");
    const text = shared.line(args, LINE);
    host.print(level, indent === "" ? text : text.replace(/^/gm, indent));
  };
  const say = (level) => (...args) => write(level, args);
  const cell = (value) => (typeof value === "string" ? value : shared.show(value, 500)).replace(/\|/g, "\\|").replace(/\s*\n\s*/g, " ");

  // Rows as a Markdown table.
  shared.table = (rows, columns) => {
    const most = 1_000;
    const entries = Array.isArray(rows) ? rows.map((row, at) => [at, row]) : Object.entries(rows);
    const names = columns ?? [...new Set(entries.slice(0, most).flatMap(([, row]) =>
      row !== null && typeof row === "object" ? Object.keys(row) : ["value"]))].slice(0, 50);
    const lines = entries.slice(0, most).map(([, row]) =>
      `| ${names.map((name) => cell(row !== null && typeof row === "object" ? row[name] ?? "" : name === "value" ? row : "")).join(" | ")} |`);
    const head = [`| ${names.map(cell).join(" | ")} |`, `|${" --- |".repeat(names.length)}`];
    if (entries.length > most) lines.push(`… ${entries.length - most} more rows`);
    return [...head, ...lines].join("\n");
  };

  globals.console = {
    log: say("log"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    debug: say("debug"),
    trace: say("debug"),
    dir: (value) => write("log", [value]),
    dirxml: say("log"),
    table(rows, columns) {
      write("log", [rows !== null && typeof rows === "object" ? shared.table(rows, columns) : rows]);
    },
    assert(condition, ...args) {
      if (!condition) write("error", ["Assertion failed", ...(args.length ? [":", ...args] : [])]);
    },
    count(label = "default") {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      write("log", [`${label}: ${counts.get(label)}`]);
    },
    countReset: (label = "default") => void counts.delete(label),
    group(...args) {
      if (args.length) write("log", args);
      if (indent.length < 40) indent += "  ";
    },
    groupCollapsed(...args) {
      globals.console.group(...args);
    },
    groupEnd() {
      indent = indent.slice(2);
    },
    time: (label = "default") => void timers.set(label, globals.performance.now()),
    timeLog(label = "default", ...args) {
      write("log", [`${label}: ${(globals.performance.now() - (timers.get(label) ?? NaN)).toFixed(3)} ms`, ...args]);
    },
    timeEnd(label = "default") {
      globals.console.timeLog(label);
      timers.delete(label);
    },
    clear() {},
  };

  const IMAGES = [
    ["image/png", [0x89, 0x50, 0x4e, 0x47]],
    ["image/jpeg", [0xff, 0xd8, 0xff]],
    ["image/gif", [0x47, 0x49, 0x46, 0x38]],
    ["image/webp", [0x52, 0x49, 0x46, 0x46]],
  ];

  // Shows something to the person: a table, a picture, markup, or any value.
  globals.display = (value, title) => {
    const name = title === undefined ? undefined : String(title);
    if (shared.isBytes(value)) {
      const bytes = shared.bytesOf(value);
      const found = IMAGES.find(([, magic]) => magic.every((byte, at) => bytes[at] === byte));
      host.displayBytes(found ? "image" : "file", found ? found[0] : "application/octet-stream", bytes, name);
    } else if (typeof value === "string") {
      const markup = value.trimStart().slice(0, 200).toLowerCase();
      if (/^(<\?xml[^>]*>\s*)?(<!--[^]*?-->\s*)?<svg[\s>]/.test(markup)) host.display("svg", "image/svg+xml", value, name);
      else if (/^<(!doctype html|html|table|div|p|h[1-6]|ul|ol|section|article)[\s>]/.test(markup)) host.display("html", "text/html", value, name);
      else host.display("text", "text/plain", value, name);
    } else if (Array.isArray(value) && value.length > 0 && value.every((row) => row !== null && typeof row === "object")) {
      host.display("table", "text/markdown", shared.table(value), name);
    } else {
      const [json] = shared.plain(value, 1 << 20, "display");
      host.display("text", "application/json", json, name);
    }
  };
}
