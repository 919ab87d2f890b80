// Sets the interpreter up, once, before its snapshot is taken. `host` holds the functions that stand in
// `natives.rs`; what is returned is what `interpreter.rs` calls.
(host, parts) => {
  const globals = {};
  const calls = [];
  const shared = { onCall: (reset) => calls.push(reset) };
  for (const part of parts) part(host, shared, globals);
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }
  const { apply, ownKeys } = Reflect;
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const functionText = Function.prototype.toString;
  const standard = new Set(ownKeys(globalThis));
  standard.add("inputs");
  let bound = [];

  // The names of a function's parameters, and `undefined` for one that is a pattern.
  const parameters = (source) => {
    const open = source.indexOf("(");
    const names = [];
    let depth = 0;
    let text = "";
    let quote = "";
    const end = () => {
      const name = text.trim();
      text = "";
      if (name !== "") names.push(/^(\.\.\.)?[A-Za-z_$][\w$]*$/.test(name.split("=")[0].trim()) ? name.split("=")[0].trim() : undefined);
    };
    for (let at = open; at < source.length; at += 1) {
      const character = source[at];
      if (quote !== "") {
        if (character === "\\") at += 1;
        else if (character === quote) quote = "";
        continue;
      }
      if (source.startsWith("/*", at)) {
        at = source.indexOf("*/", at + 2) + 1;
        continue;
      }
      if (source.startsWith("//", at)) {
        at = source.indexOf("\n", at);
        if (at < 0) break;
        continue;
      }
      if ("\"'`".includes(character)) quote = character;
      else if ("([{".includes(character)) {
        depth += 1;
        if (depth === 1) continue;
      } else if (")]}".includes(character)) {
        depth -= 1;
        if (depth === 0) break;
      } else if (character === "," && depth === 1) {
        end();
        continue;
      }
      text += character;
    }
    end();
    return names;
  };

  const isAsync = (value) => value[Symbol.toStringTag] === "AsyncFunction" || value[Symbol.toStringTag] === "AsyncGeneratorFunction";

  return {
    settle: shared.settle,
    fire: shared.fire,
    error: shared.error,
    plain: shared.plain,
    show: shared.show,
    // Begins a call: binds its inputs. Answers what is wrong with them, if anything is.
    begin(inputs) {
      for (const reset of calls) reset();
      for (const name of bound) delete globalThis[name];
      bound = [];
      const values = JSON.parse(inputs);
      for (const name of Object.keys(values)) {
        if (!/^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u.test(name)) return `the input ${JSON.stringify(name.slice(0, 80))} is no identifier; rename it`;
        if (standard.has(name)) return `the input ${name} has the name of something that is there already; rename it`;
        try {
          host.check(`let ${name}`);
        } catch {
          return `the input ${name} is a word of the language; rename it`;
        }
      }
      for (const [name, value] of [...Object.entries(values), ["inputs", values]]) {
        const old = getOwnPropertyDescriptor(globalThis, name);
        if (old && !old.configurable) return `the input ${name} has the name of something that an earlier program made; rename it`;
        defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: true });
        if (name !== "inputs") bound.push(name);
      }
      return undefined;
    },
    isAsync,
    call(main, inputs) {
      const values = JSON.parse(inputs);
      const args = [];
      for (const name of parameters(apply(functionText, main, []))) {
        if (name === undefined) args.push(values);
        else if (name.startsWith("...")) args.push(...Object.values(values));
        else args.push(values[name]);
      }
      return main(...args);
    },
    // What was thrown: name, message, stack, and for an error of a tool its code.
    thrown(value) {
      if (!(value instanceof Error)) return [typeof value, shared.show(value, 1_000), "", undefined];
      const text = (read) => {
        try {
          return String(read()).slice(0, 10_000);
        } catch {
          return "";
        }
      };
      const tool = value instanceof globals.ToolError ? value : value.cause instanceof globals.ToolError ? value.cause : undefined;
      return [text(() => value.name), text(() => value.message), text(() => value.stack), tool && JSON.stringify({ code: tool.code, message: tool.message, retryable: tool.retryable, data: tool.data })];
    },
  };
}
