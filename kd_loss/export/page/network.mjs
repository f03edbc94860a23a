// A network of this folder in onnxruntime-web.
import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more would need a server that isolates the page

export { ort };

/** `card` and `session` of the network in a folder. */
export async function loadNetwork(folder) {
  const card = await (await fetch(new URL("card.json", folder))).json();
  const model = await (await fetch(new URL("model.onnx", folder))).arrayBuffer();
  return { card, session: await ort.InferenceSession.create(model, { executionProviders: ["wasm"] }) };
}
