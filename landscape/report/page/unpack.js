// Packed numbers (base64 floats, bytes or 16-bit codes) become typed arrays, once, when somebody asks for them.

landscape.unpack = (({ page_data: { constants } }) => {
  const { steps, zero, minus, plus, nan } = constants.packing;
  const special = new Map([
    [zero, 0],
    [minus, -Infinity],
    [plus, Infinity],
    [nan, NaN],
  ]);
  const unpacked = new WeakMap();

  function unpack(packed) {
    if (!packed) return null;
    if (!unpacked.has(packed)) unpacked.set(packed, readPacked(packed));
    return unpacked.get(packed);
  }

  function readPacked({ t, b, lo, hi }) {
    const bytes = Uint8Array.from(atob(b), (letter) => letter.charCodeAt(0));
    if (t === "u1") return bytes;
    const view = new DataView(bytes.buffer);
    if (t === "f4") return Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    const step = (hi - lo) / steps;
    return Float64Array.from({ length: bytes.length / 2 }, (_, i) => {
      const code = view.getUint16(2 * i, true);
      if (code > steps) return special.get(code);
      return t === "log" ? Math.exp(lo + code * step) : lo + code * step;
    });
  }

  return { unpack };
})(landscape);
