// `files`: the workspace, where the operator grants it.
(host, shared, globals) => {
  const data = (value) => {
    if (typeof value === "string") return host.utf8(value);
    if (shared.isBytes(value)) {
      const bytes = shared.bytesOf(value);
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    }
    return host.utf8(JSON.stringify(value, null, 2));
  };
  globals.files = {
    read: (path) => new Uint8Array(host.readFile(String(path))),
    readText: (path) => host.readText(String(path)),
    readJSON: (path) => JSON.parse(host.readText(String(path))),
    write: (path, value) => void host.writeFile(String(path), data(value), false),
    append: (path, value) => void host.writeFile(String(path), data(value), true),
    list: (path = "") => JSON.parse(host.listFiles(String(path))),
    stat: (path) => JSON.parse(host.statFile(String(path))),
    exists(path) {
      try {
        host.statFile(String(path));
        return true;
      } catch (error) {
        if (error.code === "not-found") return false;
        throw error;
      }
    },
    remove: (path) => void host.removeFile(String(path)),
    rename: (from, to) => void host.renameFile(String(from), String(to)),
  };
}
