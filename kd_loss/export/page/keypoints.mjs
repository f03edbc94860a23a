// Keypoints in the browser: the middle of a picture, as training cut it, through the network in onnxruntime-web.
import { loadNetwork, ort } from "./network.mjs";
import { rounded } from "./pictures.mjs";

/** The square [left, top, side] of an ImageData's middle that holds `share` of its shorter side. */
export function middle(picture, share) {
  const side = Math.max(2, rounded(Math.min(picture.width, picture.height) * share));
  return [Math.floor((picture.width - side) / 2), Math.floor((picture.height - side) / 2), side];
}

/** The pixels that each of `size` new ones is made of along a side, with their shares: averaged, or between two. */
function shares(side, size) {
  const step = side / size;
  return Array.from({ length: size }, (_, i) => {
    if (step > 1) {
      const [start, end] = [i * step, Math.min((i + 1) * step, side)];
      const parts = [];
      for (let at = Math.floor(start + 1e-6); at < end - 1e-6; at++) {
        parts.push([at, (Math.min(at + 1, end) - Math.max(at, start)) / (end - start)]);
      }
      return parts;
    }
    const at = Math.max(0, Math.min(side - 1, (i + 0.5) * step - 0.5));
    const low = Math.min(side - 2, Math.floor(at));
    return [[low, 1 - (at - low)], [low + 1, at - low]];
  });
}

/** A square of an ImageData as (size, size, 3) RGB 0…255, as training cut it: averaged where it shrinks. */
export function resized(picture, [left, top, side], size) {
  const parts = shares(side, size);
  const rows = new Float32Array(side * size * 3); // the columns first
  for (let y = 0; y < side; y++) {
    for (let column = 0; column < size; column++) {
      for (const [x, share] of parts[column]) {
        const from = 4 * ((top + y) * picture.width + left + x);
        for (let c = 0; c < 3; c++) rows[3 * (y * size + column) + c] += share * picture.data[from + c];
      }
    }
  }
  const crop = new Float32Array(size * size * 3);
  for (let row = 0; row < size; row++) {
    for (const [y, share] of parts[row]) {
      for (let i = 0; i < 3 * size; i++) crop[3 * size * row + i] += share * rows[3 * size * y + i];
    }
  }
  return crop.map(Math.round);
}

export class KeypointDetector {
  static async load(folder = new URL("./", import.meta.url)) {
    return Object.assign(new KeypointDetector(), await loadNetwork(folder));
  }

  /** Keypoints [[x, y], …] in pixels of an ImageData, and a Jacobian [a, b, c, d] of each. */
  async find(picture) {
    const { size, crop, points } = this.card;
    const square = middle(picture, crop);
    const pixels = new ort.Tensor("float32", resized(picture, square, size), [1, size, size, 3]);
    const outputs = Object.values(await this.session.run({ [this.session.inputNames[0]]: pixels }));
    const [places, slopes] = [2, 4].map((count) => outputs.find((one) => one.data.length === count * points).data);
    const [keypoints, jacobians] = [[], []];
    for (let k = 0; k < points; k++) {
      // −1 and 1 are the centres of the first and the last pixel of the crop
      const at = [0, 1].map((axis) => ((places[2 * k + axis] + 1) / 2 * (size - 1) + 0.5) * square[2] / size - 0.5);
      keypoints.push([square[0] + at[0], square[1] + at[1]]);
      jacobians.push([...slopes.slice(4 * k, 4 * k + 4)]);
    }
    return { keypoints, jacobians };
  }
}
