// Randomness: seeded at its first use in an instance, since a snapshot holds the state of what is.
(host, shared, globals) => {
  let a = 0, b = 0, c = 0, d = 0, seeded = false;
  // xoshiro128** (Blackman and Vigna, 2018); 53 bits of two outputs.
  const next = () => {
    const rotated = Math.imul(b, 5);
    const result = Math.imul((rotated << 7) | (rotated >>> 25), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result >>> 0;
  };
  Math.random = () => {
    if (!seeded) {
      const seed = new Int32Array(host.random(16));
      [a, b, c, d] = seed;
      // All zero is the one state that never changes.
      if ((a | b | c | d) === 0) a = 1;
      seeded = true;
    }
    return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
  };
  Object.defineProperty(Math.random, "name", { value: "random" });

  const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
  globals.crypto = {
    getRandomValues(array) {
      if (!ArrayBuffer.isView(array) || array instanceof DataView || /^Float/.test(array[Symbol.toStringTag])) {
        throw new TypeError("getRandomValues takes an integer array");
      }
      if (array.byteLength > 65_536) {
        throw new globals.DOMException("getRandomValues gives at most 65,536 bytes", "QuotaExceededError");
      }
      shared.bytesOf(array).set(new Uint8Array(host.random(array.byteLength)));
      return array;
    },
    randomUUID() {
      const bytes = new Uint8Array(host.random(16));
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      const text = Array.from(bytes, (byte) => hex[byte]).join("");
      return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join("-");
    },
  };
}
