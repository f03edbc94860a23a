// Keypoints in the browser: the middle of a picture, as training cut it, through the network in onnxruntime-web.
import * as ort from "./ort/ort.wasm.min.mjs";
import { cropFace } from "./landmarks.mjs";

/** The square [x0, y0, side] of an ImageData's middle that holds `share` of its shorter side. */
export function middle(picture, share) {
  const side = Math.max(2, Math.round(Math.min(picture.width, picture.height) * share));
  return [Math.floor((picture.width - side) / 2) - 0.5, Math.floor((picture.height - side) / 2) - 0.5, side];
}

export class KeypointDetector {
  static async load(folder = new URL("./", import.meta.url)) {
    const detector = new KeypointDetector();
    detector.card = await (await fetch(new URL("card.json", folder))).json();
    const model = await (await fetch(new URL("model.onnx", folder))).arrayBuffer();
    detector.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return detector;
  }

  /** Keypoints [[x, y], …] in pixels of an ImageData, and a Jacobian [a, b, c, d] of each. */
  async find(picture) {
    const { size, crop, points } = this.card;
    const square = middle(picture, crop);
    const pixels = new ort.Tensor("float32", cropFace(picture, square, size), [1, size, size, 3]);
    const outputs = Object.values(await this.session.run({ [this.session.inputNames[0]]: pixels }));
    const [places, slopes] = [2, 4].map((count) => outputs.find((one) => one.data.length === count * points).data);
    const [keypoints, jacobians] = [[], []];
    for (let k = 0; k < points; k++) {
      // −1 and 1 are the centres of the first and the last pixel of the crop
      const at = [0, 1].map((axis) => ((places[2 * k + axis] + 1) / 2 * (size - 1) + 0.5) * square[2] / size);
      keypoints.push([square[0] + at[0], square[1] + at[1]]);
      jacobians.push([...slopes.slice(4 * k, 4 * k + 4)]);
    }
    return { keypoints, jacobians };
  }
}
