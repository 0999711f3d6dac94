// Reads the data of the page: base64 of a gzip stream with a JSON header and typed arrays.
window.study = window.study || {};
(function () {
  "use strict";
  const TYPES = { f8: Float64Array, f4: Float32Array, u1: Uint8Array, u2: Uint16Array, i4: Int32Array };

  async function load() {
    const text = document.getElementById("data").textContent.trim();
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(stream).arrayBuffer();
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    for (const array of Object.values(header.arrays)) {
      const size = array.shape.reduce((a, b) => a * b, 1);
      array.data = new TYPES[array.dtype](buffer, 4 + length + array.offset, size);
    }
    return header;
  }

  study.load = load;
})();
