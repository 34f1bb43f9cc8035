// Reading what the page carries: base64 of gzipped bundles of arrays (openexpose.viewer.payload).

const TYPES = { f8: Float64Array, f4: Float32Array, i4: Int32Array, i2: Int16Array, u2: Uint16Array, u1: Uint8Array };

/** The bytes of a block of the page. */
export function block(id) {
  const text = document.getElementById(id).textContent.trim();
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = characters.charCodeAt(k);
  return bytes;
}

/** A bundle: its header, with the arrays by name under "arrays". */
export async function bundle(id) {
  const packed = new Blob([block(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = await new Response(packed).arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  const arrays = {};
  for (const [name, { type, shape, offset }] of Object.entries(header.arrays)) {
    const count = shape.reduce((product, size) => product * size, 1);
    arrays[name] = new TYPES[type](bytes, 4 + length + offset, count);
    arrays[name].shape = shape;
  }
  return { ...header, arrays };
}
