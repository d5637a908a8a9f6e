// A JSON header and arrays in one body; the inverse of `pack` in the server's answers.py.

export interface Packed {
  shape: number[];
  values: Uint8Array | Uint16Array | Float32Array;
}

interface Described {
  dtype: string;
  shape: number[];
  offset: number;
}

function view(dtype: string, body: ArrayBuffer, at: number, count: number): Packed['values'] {
  if (dtype === 'uint8') return new Uint8Array(body, at, count);
  if (dtype === 'uint16') return new Uint16Array(body, at, count);
  return new Float32Array(body, at, count);
}

export function unpack<Header>(body: ArrayBuffer): { header: Header; arrays: Packed[] } {
  const length = new DataView(body).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(body, 4, length));
  const { arrays, ...header } = JSON.parse(text) as { arrays: Described[] };
  const start = 4 + length;
  return {
    header: header as Header,
    arrays: arrays.map(({ dtype, shape, offset }) => {
      const count = shape.reduce((product, side) => product * side, 1);
      const at = start + offset;
      return { shape, values: view(dtype, body, at, count) };
    }),
  };
}
