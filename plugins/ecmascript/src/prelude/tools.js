// `tools`: what the agent's other tools are to a program.
(host, shared, globals) => {
  // As many as the host lets be under way, and some to spare; others wait here.
  const AT_ONCE = 32;
  let table;
  let underWay = 0;
  const queue = [];
  shared.onCall(() => {
    table = undefined;
    underWay = 0;
    queue.length = 0;
  });

  const camel = (id) => id.replace(/[^A-Za-z0-9]+(.)?/g, (_, next) => (next ? next.toUpperCase() : ""));
  const load = () => {
    if (table === undefined) {
      table = new Map();
      for (const id of JSON.parse(host.listTools())) {
        const tool = make(id);
        table.set(id, tool);
        if (!table.has(camel(id))) table.set(camel(id), tool);
      }
    }
    return table;
  };

  const next = () => {
    while (underWay < AT_ONCE && queue.length > 0) queue.shift()();
  };
  const start = (id, args) => {
    const text = JSON.stringify(args === undefined ? {} : args, (_, value) => {
      if (typeof value === "bigint") return String(value);
      return shared.isBytes(value) ? { base64: host.base64(shared.bytesOf(value)) } : value;
    });
    return new Promise((resolve, reject) => {
      queue.push(() => {
        underWay += 1;
        const done = (settle) => (value) => {
          underWay -= 1;
          settle(value);
          next();
        };
        shared.promise(() => host.startTool(id, text)).then(done((json) => resolve(JSON.parse(json))), done(reject));
      });
      next();
    });
  };
  const make = (id) => {
    const call = async (args) => {
      const { value, blocks } = await start(id, args);
      if (value !== undefined) return value;
      const texts = (blocks ?? []).map((block) => block.text ?? `[${block.kind}]`);
      return texts.length > 0 ? texts.join("\n") : undefined;
    };
    call.output = (args) => start(id, args);
    Object.defineProperty(call, "name", { value: camel(id) });
    Object.defineProperty(call, "id", { value: id, enumerable: true });
    return call;
  };

  const distance = (one, other) => {
    let row = Array.from({ length: other.length + 1 }, (_, at) => at);
    for (let i = 0; i < one.length; i += 1) {
      const last = row;
      row = [i + 1];
      for (let j = 0; j < other.length; j += 1) {
        row.push(Math.min(last[j] + (one[i] === other[j] ? 0 : 1), row[j] + 1, last[j + 1] + 1));
      }
    }
    return row[other.length];
  };
  const unknown = (name) => {
    const ids = [...load().values()].map((tool) => tool.name);
    const names = [...new Set(ids)];
    const near = names
      .map((known) => [distance(name.slice(0, 60).toLowerCase(), known.toLowerCase()), known])
      .filter(([far, known]) => far <= Math.max(2, known.length / 3))
      .sort(([one], [other]) => one - other)
      .slice(0, 3)
      .map(([, known]) => known);
    const hint = near.length > 0 ? `; did you mean ${near.join(", ")}?`
      : names.length === 0 ? "; no tool is granted to this program"
      : `; there are ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}`;
    return new TypeError(`there is no tool ${name.slice(0, 80)}${hint}`);
  };

  const own = (name) => {
    const tool = load().get(name);
    return tool && { value: tool, enumerable: name === tool.name, configurable: true, writable: false };
  };
  const proxy = new Proxy(Object.create(null), {
    get(_, name) {
      // `await tools` and what inspects objects ask for these.
      if (typeof name === "symbol" || name === "then" || name === "toJSON") return undefined;
      const tool = load().get(name);
      if (tool === undefined) throw unknown(name);
      return tool;
    },
    has: (_, name) => typeof name === "string" && load().has(name),
    ownKeys: () => [...new Set([...load().values()].map((tool) => tool.name))],
    getOwnPropertyDescriptor: (_, name) => (typeof name === "string" ? own(name) : undefined),
    set: () => false,
    defineProperty: () => false,
    deleteProperty: () => false,
  });
  globals.tools = proxy;
}
