// Packed numbers (base64 floats, bytes or 16-bit codes) become typed arrays, once, when somebody asks for them.

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
  const step = (hi - lo) / 65000;
  const special = { 65532: 0, 65533: -Infinity, 65534: Infinity, 65535: NaN };
  return Float64Array.from({ length: bytes.length / 2 }, (_, i) => {
    const code = view.getUint16(2 * i, true);
    if (code > 65000) return special[code];
    return t === "log" ? Math.exp(lo + code * step) : lo + code * step;
  });
}
