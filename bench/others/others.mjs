// Times other sandboxes: a line of JSON each, with milliseconds of every run.
const { HEAVY_JAVASCRIPT, HEAVY_PYTHON } = process.env;

const time = async (runs, work) => {
  const ms = [];
  for (let run = 0; run < runs + 2; run += 1) {
    const start = performance.now();
    await work();
    if (run >= 2) ms.push(performance.now() - start);
  }
  return ms;
};
const row = async (title, runs, work) => {
  try {
    console.log(JSON.stringify({ title, ms: await time(runs, work) }));
  } catch (error) {
    console.log(JSON.stringify({ title, error: String(error).slice(0, 100) }));
  }
};

await row("JavaScript 1+1, isolated-vm, new isolate", 30, async () => {
  const { default: ivm } = await import("isolated-vm");
  const isolate = new ivm.Isolate({ memoryLimit: 128 });
  const context = await isolate.createContext();
  await context.eval("1+1");
  isolate.dispose();
});
await row("JavaScript heavy, isolated-vm, new isolate", 5, async () => {
  const { default: ivm } = await import("isolated-vm");
  const isolate = new ivm.Isolate({ memoryLimit: 256 });
  const context = await isolate.createContext();
  await context.eval(HEAVY_JAVASCRIPT);
  isolate.dispose();
});
const quickjs = async (code) => {
  const { getQuickJS } = await import("quickjs-emscripten");
  const module = await getQuickJS();
  const runtime = module.newRuntime();
  const context = runtime.newContext();
  context.unwrapResult(context.evalCode(code)).dispose();
  context.dispose();
  runtime.dispose();
};
await row("JavaScript 1+1, quickjs-emscripten, new runtime", 200, () => quickjs("1+1"));
await row("JavaScript heavy, quickjs-emscripten", 5, () => quickjs(HEAVY_JAVASCRIPT));
let python;
await row("Python 1+1, Pyodide, loading it", 1, async () => {
  const { loadPyodide } = await import("pyodide");
  python = await loadPyodide();
  python.runPython("1+1");
});
await row("Python 1+1, Pyodide, warm", 100, () => python.runPython("1+1"));
await row("Python heavy, Pyodide, warm", 5, () => python.runPython(HEAVY_PYTHON));
