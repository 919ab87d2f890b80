// Work under way, timers on virtual time, and the errors of the host.
(host, shared, globals) => {
  const waiting = new Map();
  const timers = new Map();
  shared.onCall(() => {
    waiting.clear();
    timers.clear();
  });

  // What the host refuses or a tool fails with.
  class ToolError extends Error {
    constructor(message, options = {}) {
      super(message);
      this.code = options.code ?? "internal";
      this.retryable = options.retryable ?? false;
      if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
      if (options.data !== undefined) this.data = options.data;
    }
  }
  Object.defineProperty(ToolError.prototype, "name", { value: "ToolError", writable: true, configurable: true });
  globals.ToolError = ToolError;

  shared.error = (json) => {
    const { message, ...options } = JSON.parse(json);
    return new ToolError(message, options);
  };

  // A promise for work that `start` begins and names by a number.
  shared.promise = (start) =>
    new Promise((resolve, reject) => {
      waiting.set(start(), [resolve, reject]);
    });
  shared.settle = (id, failed, value) => {
    const [resolve, reject] = waiting.get(id) ?? [];
    waiting.delete(id);
    if (resolve === undefined) return;
    if (failed) reject(shared.error(value));
    else resolve(value);
  };

  const timer = (repeat) => (callback, delay = 0, ...args) => {
    if (typeof callback !== "function") throw new TypeError("the callback of a timer must be a function");
    const wait = Math.min(Math.max(Number(delay) || 0, 1), 2 ** 31 - 1);
    const id = host.addTimer(wait, repeat);
    timers.set(id, { callback, args, wait, repeat });
    return id;
  };
  const clear = (id) => {
    if (timers.delete(id)) host.removeTimer(id);
  };
  shared.fire = (id) => {
    const due = timers.get(id);
    if (due === undefined) return;
    if (due.repeat) host.again(id, due.wait);
    else timers.delete(id);
    due.callback(...due.args);
  };
  globals.setTimeout = timer(false);
  globals.setInterval = timer(true);
  globals.setImmediate = (callback, ...args) => globals.setTimeout(callback, 0, ...args);
  globals.clearTimeout = clear;
  globals.clearInterval = clear;
  globals.clearImmediate = clear;

  globals.performance ??= {};
  globals.performance.now = host.monotonic;
  globals.performance.timeOrigin = 0;
  globals.structuredClone = (value) => {
    try {
      return host.clone(value);
    } catch (error) {
      throw new globals.DOMException(`the value cannot be cloned: ${error.message}`, "DataCloneError");
    }
  };
}
