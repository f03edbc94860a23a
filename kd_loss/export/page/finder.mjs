// Faces in the browser: what kd_loss/detection/finder.py does without `smallest`, the second look in tiles included.
import * as ort from "./ort/ort.wasm.min.mjs";
import { rounded } from "./pictures.mjs";

/** For each of `count` places along a line of `length` pixels: the two that it lies between, and the second one's share. */
function between(length, count) {
  const inside = (p) => Math.max(0, Math.min(length - 1, p));
  return Array.from({ length: count }, (_, i) => {
    const at = ((i + 0.5) * length) / count - 0.5, first = Math.floor(at);
    return [inside(first), inside(first + 1), at - first];
  });
}

/** Pixels of RGB or, with `channels` 4, RGBA, interpolated to another size as RGB, in whole numbers as in Python. */
function interpolated({ data, width, height }, channels, newWidth, newHeight) {
  const across = between(width, newWidth), result = new Uint8ClampedArray(newWidth * newHeight * 3);
  let to = 0;
  for (const [above, below, down] of between(height, newHeight)) {
    for (const [left, right, aside] of across) {
      for (let c = 0; c < 3; c++, to++) {
        const at = (row, column) => data[channels * (row * width + column) + c];
        const upper = at(above, left) * (1 - aside) + at(above, right) * aside;
        const lower = at(below, left) * (1 - aside) + at(below, right) * aside;
        result[to] = Math.round(upper * (1 - down) + lower * down);
      }
    }
  }
  return { data: result, width: newWidth, height: newHeight };
}

/** An ImageData resized by `scale`, as RGB 0…255. */
export function resized(picture, scale) {
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, rounded(scale * side)));
  let [small, channels] = [picture, 4];
  while (small.width >= 2 * width && small.height >= 2 * height) { // the mean of each 2 × 2 pixels
    small = interpolated(small, channels, Math.floor(small.width / 2), Math.floor(small.height / 2));
    channels = 3;
  }
  return interpolated(small, channels, width, height);
}

/** The part of an RGB picture from (left, top) in the upper left corner of a black square of `size`, and its extent. */
export function letterbox(small, size, left = 0, top = 0) {
  const [width, height] = [Math.min(size, small.width - left), Math.min(size, small.height - top)];
  const pixels = new Float32Array(size * size * 3);
  for (let y = 0; y < height; y++) {
    const start = 3 * ((top + y) * small.width + left);
    pixels.set(small.data.subarray(start, start + 3 * width), 3 * y * size);
  }
  return { pixels, width, height };
}

/** Where tiles start that cover `length` pixels and overlap by at least `common`. */
export function starts(length, tile, common) {
  if (length <= tile) return [0];
  const count = Math.ceil((length - tile) / (tile - common)) + 1;
  return Array.from({ length: count }, (_, i) => rounded((i * (length - tile)) / (count - 1)));
}

/** Whether the centre of either square lies in the other. */
function sharesCentre(a, b) {
  return [0, 1].every((i) => Math.abs(a[i] + a[2] / 2 - b[i] - b[2] / 2) < Math.max(a[2], b[2]) / 2);
}

/** Intersection over union of two squares [x, y, side]. */
export function overlap(a, b) {
  const common = [0, 1].map((i) => Math.max(0, Math.min(a[i] + a[2], b[i] + b[2]) - Math.max(a[i], b[i])));
  const both = common[0] * common[1];
  return both / (a[2] ** 2 + b[2] ** 2 - both);
}

/** Answers about one face become one: their mean weighted by score, and the best score. */
function merge(answers, limit) {
  const left = [...answers].sort((a, b) => b.score - a.score), merged = [];
  while (left.length) {
    const same = left.filter((one, i) => !i || overlap(left[0].box, one.box) > limit);
    const whole = same.reduce((sum, one) => sum + one.score, 0);
    const box = [0, 1, 2].map((i) => same.reduce((sum, one) => sum + (one.score / whole) * one.box[i], 0));
    merged.push({ box, score: left[0].score });
    left.splice(0, left.length, ...left.filter((one) => !same.includes(one)));
  }
  return merged;
}

/** Whether the grey levels of about 32 × 32 pixels in a square vary as a face's do: those of walls and skies do not. */
function hasContrast(picture, [x, y, side], [share, least]) {
  const step = Math.max(1, Math.floor(side / 32)), greys = [];
  for (let row = Math.max(0, Math.trunc(y)); row < Math.min(picture.height, Math.trunc(y + side)); row += step) {
    for (let column = Math.max(0, Math.trunc(x)); column < Math.min(picture.width, Math.trunc(x + side)); column += step) {
      const at = 4 * (row * picture.width + column);
      greys.push((picture.data[at] + picture.data[at + 1] + picture.data[at + 2]) / 3);
    }
  }
  if (!greys.length) return false;
  const mean = greys.reduce((a, b) => a + b, 0) / greys.length;
  const deviation = Math.sqrt(greys.reduce((sum, grey) => sum + (grey - mean) ** 2, 0) / greys.length);
  return deviation >= Math.max(least, share * Math.min(mean, 255 - mean));
}

export class FaceFinder {
  /** The finder of a page; undefined where the page has none. */
  static async load(folder = new URL("./", import.meta.url)) {
    const answer = await fetch(new URL("finder.json", folder));
    if (!answer.ok) return undefined;
    const finder = new FaceFinder();
    finder.card = await answer.json();
    const model = await (await fetch(new URL("finder.onnx", folder))).arrayBuffer();
    finder.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return finder;
  }

  /**
   * The faces of an ImageData, the largest first: { box: [x, y, side], score }, the box of 300W's 68 landmarks.
   * `ease` times the least scores are enough. Where one is small, the finder looks `again` at four tiles.
   */
  async find(picture, ease = 1, again = true) {
    const { size, of_tiles, of_groups } = this.card, longest = Math.max(picture.width, picture.height);
    const seen = await this.look(picture, [[0, 0]], resized(picture, size / longest), size / longest, ease, true);
    const faces = this.faces(picture, seen);
    if (again && faces.some((face) => face.box[2] < of_groups * longest)) {
      const scale = (2 * size - of_tiles) / longest, level = resized(picture, scale), corners = [];
      for (const y of starts(level.height, size, of_tiles)) {
        for (const x of starts(level.width, size, of_tiles)) corners.push([x, y]);
      }
      const more = this.faces(picture, await this.look(picture, corners, level, scale, ease, false));
      faces.push(...more.filter((face) => !faces.some((known) => sharesCentre(known.box, face.box))));
    }
    return faces.sort((a, b) => b.box[2] - a.box[2]);
  }

  /** Answers about one face become one; what has no contrast is none. */
  faces(picture, answers) {
    const { same, least_contrast } = this.card;
    return merge(answers, same).filter((face) => hasContrast(picture, face.box, least_contrast));
  }

  /** What the network answers about the parts of `level`, the picture resized by `scale`, that begin at `corners`. */
  async look(picture, corners, level, scale, ease, whole) {
    const { size, strides, min_scores, channels, largest, of_tiles } = this.card, answers = [];
    const scales = [level.width / picture.width, level.height / picture.height]; // they differ by rounding
    for (const from of corners) {
      const { pixels, width, height } = letterbox(level, size, ...from);
      const input = new ort.Tensor("float32", pixels, [1, size, size, 3]);
      const outputs = Object.values(await this.session.run({ [this.session.inputNames[0]]: input }));
      outputs.sort((a, b) => b.dims[1] - a.dims[1]).forEach((map, number) => {
        const [stride, cells, values] = [strides[number], map.dims[1], map.data];
        for (let cell = 0; cell < cells * cells; cell++) {
          const at = channels * cell, score = 1 / (1 + Math.exp(-values[at]));
          if (score < ease * min_scores[number]) continue;
          const side = 4 * stride * Math.exp(Math.max(-5, Math.min(5, values[at + 3])));
          if (side > (whole ? largest * Math.min(width, height) : of_tiles)) continue;
          const centre = [cell % cells, Math.floor(cell / cells)].map(
            (i, axis) => (i + 0.5) * stride - 0.5 + 4 * stride * values[at + 1 + axis]);
          const corner = centre.map((c, i) => (c + from[i] + 0.5) / scales[i] - 0.5 - side / scale / 2);
          answers.push({ box: [...corner, side / scale], score });
        }
      });
    }
    return answers;
  }
}

/** Whether the finder, looking closely and content with less, sees a face about where a square [x, y, side] is. */
export async function holdsFace(finder, picture, [x, y, side]) {
  const low = [x, y].map((v) => Math.max(0, Math.floor(v - side / 2)));
  const [width, height] = [picture.width, picture.height].map(
    (length, i) => Math.min(length, Math.ceil([x, y][i] + 1.5 * side)) - low[i]);
  if (Math.min(width, height) < 2) return false;
  const region = new OffscreenCanvas(width, height).getContext("2d");
  region.putImageData(picture, -low[0], -low[1]);
  const found = await finder.find(region.getImageData(0, 0, width, height), 0.7, false);
  return found.some(({ box }) => overlap([box[0] + low[0], box[1] + low[1], box[2]], [x, y, side]) > 0.2);
}

/** A finder's box as the square to crop: where the landmarks of a scheme lie in it was measured, see `calibration`. */
export function squareOfFace([x, y, side], calibration, margin) {
  const { x: right = 0, y: down = 0, side: share = 1 } = calibration;
  const whole = side * share * (1 + 2 * margin);
  return [x + side / 2 + right * side - whole / 2, y + side / 2 + down * side - whole / 2, whole];
}
