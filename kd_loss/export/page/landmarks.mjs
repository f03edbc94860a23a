// Landmarks in the browser: the crop is cut as in training, the network runs in onnxruntime-web.
import { overlap } from "./finder.mjs";
import { loadNetwork, ort } from "./network.mjs";

/** The square [x0, y0, side] around landmarks [[x, y], …], widened by `margin` on each end. */
export function squareAround(points, margin) {
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  return squareOfBox(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), margin);
}

/** The square around the box of landmarks from (x0, y0) to (x1, y1). */
export function squareOfBox(x0, y0, x1, y1, margin) {
  const side = Math.max(x1 - x0, y1 - y0) * (1 + 2 * margin);
  return [(x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side];
}

/** Average blocks of factor × factor pixels of the part of a picture that a square needs, as RGB floats. */
function shrink(picture, square, factor) {
  const [x0, y0, side] = square;
  const limit = (value, most) => Math.max(0, Math.min(most, value));
  const columns = Math.floor(picture.width / factor);
  const rows = Math.floor(picture.height / factor);
  const left = limit(Math.floor(x0 / factor) - 1, columns);
  const top = limit(Math.floor(y0 / factor) - 1, rows);
  const right = limit(Math.ceil((x0 + side) / factor) + 2, columns);
  const bottom = limit(Math.ceil((y0 + side) / factor) + 2, rows);
  const [width, height] = [Math.max(0, right - left), Math.max(0, bottom - top)];
  const pixels = new Float32Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let dy = 0; dy < factor; dy++) {
          let at = 4 * (((top + y) * factor + dy) * picture.width + (left + x) * factor) + c;
          for (let dx = 0; dx < factor; dx++, at += 4) sum += picture.data[at];
        }
        pixels[3 * (y * width + x) + c] = Math.round(sum / (factor * factor));
      }
    }
  }
  return { pixels, left, top, width, height };
}

/** A square of an ImageData as (size, size, 3) RGB 0…255; outside of the picture black. */
export function cropFace(picture, square, size) {
  const [x0, y0, side] = square;
  const step = side / size;
  const factor = Math.max(1, Math.min(Math.floor(step + 1e-6), picture.width, picture.height));
  const part = shrink(picture, square, factor);
  const crop = new Float32Array(size * size * 3);
  const read = (x, y, c) =>
    x < 0 || y < 0 || x >= part.width || y >= part.height ? 0 : part.pixels[3 * (y * part.width + x) + c];
  // as OpenCV, which cut the training crops: places in whole 1024ths, rounded to a 32nd of a pixel
  const [slope, middle] = [step / factor, (step / 2 - (factor - 1) / 2) / factor];
  const place = (i, start, offset) =>
    Math.floor((Math.round(1024 * slope * i) + Math.round(1024 * (start / factor + middle)) + 16) / 32) / 32 - offset;
  for (let row = 0; row < size; row++) {
    const y = place(row, y0, part.top);
    const yi = Math.floor(y);
    const fy = y - yi;
    for (let column = 0; column < size; column++) {
      const x = place(column, x0, part.left);
      const xi = Math.floor(x);
      const fx = x - xi;
      for (let c = 0; c < 3; c++) {
        const upper = read(xi, yi, c) * (1 - fx) + read(xi + 1, yi, c) * fx;
        const lower = read(xi, yi + 1, c) * (1 - fx) + read(xi + 1, yi + 1, c) * fx;
        crop[3 * (row * size + column) + c] = Math.round(upper * (1 - fy) + lower * fy);
      }
    }
  }
  return crop;
}

/** Without predictions of a face that an earlier one has: their squares overlap by more than `limit`. */
export function distinct(faces, limit) {
  const kept = [];
  for (const points of faces) {
    const square = squareAround(points, 0);
    if (kept.every((other) => overlap(square, squareAround(other, 0)) <= limit)) kept.push(points);
  }
  return kept;
}

export class LandmarkPredictor {
  static async load(folder = new URL("./", import.meta.url)) {
    return Object.assign(new LandmarkPredictor(), await loadNetwork(folder));
  }

  /**
   * Landmarks [[x, y], …] in pixels of an ImageData, of the face in a square [x0, y0, side]; cropped again around them
   * up to `refine` times where they lie elsewhere than the square supposed.
   */
  async predict(picture, square, refine = 0) {
    const { size, margin, settled } = this.card;
    const crop = new ort.Tensor("float32", cropFace(picture, square, size), [1, size, size, 3]);
    const outputs = await this.session.run({ [this.session.inputNames[0]]: crop });
    // landmarks first; then spread, visibility, or both one after the other
    const [landmarks, second] = Object.values(outputs).sort((a, b) => b.dims.length - a.dims.length);
    const values = landmarks.data;
    const points = [];
    for (let i = 0; i < values.length; i += 2) {
      points.push([square[0] + (values[i] + 0.5) * square[2], square[1] + (values[i + 1] + 0.5) * square[2]]);
    }
    const again = squareAround(points, margin);
    if (refine > 0 && this.drift(again, square) > settled) return this.predict(picture, again, refine - 1);
    points.square = square;
    // how likely each point is visible, 0…1; an export without it has none
    if (this.card.visibility) points.visibility = Array.from(second.data.slice(-points.length));
    return points;
  }

  /**
   * `predict` of a square that a finder proposed; undefined where the network does not confirm it: on what is no face
   * predictions do not fill their square, shrink or wander when the face is cropped again, or say that it is hidden.
   */
  async confirmed(picture, square, refine) {
    const { margin, wanders, shrinks, least_points, seen } = this.card;
    const points = await this.predict(picture, square, refine);
    const now = squareAround(points, margin);
    if (points.length >= least_points && !this.plausible(points, points.square)) return undefined;
    if (now[2] < shrinks * square[2]) return undefined;
    const visible = points.visibility?.reduce((sum, value) => sum + value / points.length, 0);
    if (visible < seen) return undefined; // false if the network has no such output
    return refine === 0 || this.drift(now, points.square) <= wanders ? points : undefined;
  }

  /** How far a square is from another, or how much larger or smaller, over the side of the larger one's face. */
  drift(square, before) {
    const wide = 1 + 2 * this.card.margin;
    const moved = [0, 1].map((i) => wide * Math.abs(square[i] + square[2] / 2 - before[i] - before[2] / 2));
    return Math.max(...moved, Math.abs(square[2] - before[2])) / Math.max(square[2], before[2]);
  }

  /** Whether landmarks fill the square that they were found in as a face does. */
  plausible(points, square) {
    const [x, y, side] = squareAround(points, 0);
    const off = [x + side / 2 - square[0] - square[2] / 2, y + side / 2 - square[1] - square[2] / 2];
    const shift = Math.max(Math.abs(off[0]), Math.abs(off[1]));
    return side > 0.4 * square[2] && side < 1.1 * square[2] && shift < 0.3 * square[2];
  }
}
